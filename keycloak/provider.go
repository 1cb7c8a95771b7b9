package keycloak

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/tokengrant/tokengrant/internal/stage"
)

// Grant types, as grant_types_supported of the discovery document names them.
const (
	GrantTypeClientCredentials = "client_credentials"                              // RFC 6749 §4.4
	GrantTypeRefreshToken      = "refresh_token"                                   // RFC 6749 §6
	GrantTypeTokenExchange     = "urn:ietf:params:oauth:grant-type:token-exchange" // RFC 8693 §2.1
	GrantTypeJWTBearer         = "urn:ietf:params:oauth:grant-type:jwt-bearer"     // RFC 7523 §2.1
	GrantTypeDeviceCode        = "urn:ietf:params:oauth:grant-type:device_code"    // RFC 8628 §3.4
)

// Provider is what the discovery document of an issuer says (OpenID Connect Discovery 1.0 §3, RFC 8414 §2).
// Endpoints it does not name are empty, except TokenEndpoint and JWKSURI, which are always there.
type Provider struct {
	Issuer                      string
	TokenEndpoint               string
	JWKSURI                     string
	RevocationEndpoint          string
	EndSessionEndpoint          string
	DeviceAuthorizationEndpoint string
	// MTLSTokenEndpoint and MTLSRevocationEndpoint are where a client that authenticates with its certificate asks
	// instead (mtls_endpoint_aliases, RFC 8705 §5). Discover does not look where they are; TLS does.
	MTLSTokenEndpoint      string
	MTLSRevocationEndpoint string
	GrantTypes             []string
	// Hosts are those, besides the issuer's own, that requests may go to.
	Hosts []string
}

// Supports reports whether the issuer offers a grant. A document without grant_types_supported promises none of
// those this package uses (RFC 8414 §2 gives authorization_code and implicit as its default).
func (p *Provider) Supports(grantType string) bool { return slices.Contains(p.GrantTypes, grantType) }

// maxURL is the longest endpoint of a document that is taken: it is shown in a status.
const maxURL = 2048

// Discover reads the discovery document of the issuer. Every endpoint has to be on the scheme, host and port of
// issuerURL, because credentials go there, or on the same scheme at one of hosts (host or host:port); and the document
// has to name exactly issuerURL as its issuer.
//
// Errors: IssuerUnreachable, Throttled, IssuerInvalid.
func Discover(ctx context.Context, hc *http.Client, issuerURL string, hosts ...string) (_ *Provider, err error) {
	ctx, end := stage.Begin(ctx, opDiscovery)
	defer func() { end(err) }()
	if hint := unfit(issuerURL); hint != "" {
		return nil, invalidIssuer("", hint)
	}
	ctx = oidc.ClientContext(ctx, withReader(hc, opDiscovery, documentOnly))
	found, err := oidc.NewProvider(ctx, issuerURL)
	if err != nil {
		return nil, discoveryError(err)
	}
	var doc struct {
		JWKSURI             string   `json:"jwks_uri"`
		Revocation          string   `json:"revocation_endpoint"`
		EndSession          string   `json:"end_session_endpoint"`
		DeviceAuthorization string   `json:"device_authorization_endpoint"`
		GrantTypes          []string `json:"grant_types_supported"`
		MTLS                struct {
			Token      string `json:"token_endpoint"`
			Revocation string `json:"revocation_endpoint"`
		} `json:"mtls_endpoint_aliases"`
	}
	if err := found.Claims(&doc); err != nil {
		return nil, invalidIssuer("a field of the discovery document has the wrong type", "look at what answers at the issuer URL")
	}
	p := &Provider{
		Issuer:                      issuerURL,
		TokenEndpoint:               found.Endpoint().TokenURL,
		JWKSURI:                     doc.JWKSURI,
		RevocationEndpoint:          doc.Revocation,
		EndSessionEndpoint:          doc.EndSession,
		DeviceAuthorizationEndpoint: doc.DeviceAuthorization,
		MTLSTokenEndpoint:           doc.MTLS.Token,
		MTLSRevocationEndpoint:      doc.MTLS.Revocation,
		GrantTypes:                  names(doc.GrantTypes),
		Hosts:                       hosts,
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	return p, nil
}

// unfit says what is wrong with a URL that cannot be an issuer (OpenID Connect Discovery 1.0 §3: no query, no fragment).
func unfit(issuerURL string) string {
	u, err := url.Parse(issuerURL)
	switch _, ok := originOf(issuerURL); {
	case err != nil || !ok:
		return "the issuer must be an http(s) URL with a host"
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return "the issuer URL must have no user, query or fragment"
	}
	return ""
}

// check refuses a document that lacks what we need, or sends us to somebody else.
func (p *Provider) check() error {
	for _, e := range []struct {
		name, url string
		required  bool
	}{
		{"token_endpoint", p.TokenEndpoint, true},
		{"jwks_uri", p.JWKSURI, true},
		{"revocation_endpoint", p.RevocationEndpoint, false},
		{"end_session_endpoint", p.EndSessionEndpoint, false},
		{"device_authorization_endpoint", p.DeviceAuthorizationEndpoint, false},
	} {
		if e.url == "" {
			if e.required {
				return invalidIssuer("the discovery document has no "+e.name, "the issuer URL leads to something that is not an issuer")
			}
			continue
		}
		if u, err := url.Parse(e.url); err != nil || len(e.url) > maxURL || u.User != nil || u.Fragment != "" {
			return invalidIssuer(e.name+" of the discovery document is no URL of an endpoint", "look at what answers at the issuer URL")
		}
		if !p.trusts(e.url) {
			home, _ := originOf(p.Issuer)
			return invalidIssuer(e.name+" of the discovery document is not on "+cleaner{}.text(home), elsewhere)
		}
	}
	return nil
}

const elsewhere = "credentials are sent to the issuer's own scheme, host and port only: set Keycloak's hostname option to the address " +
	"in the issuer URL or, if that host is to get them, name it in spec.endpointHosts of the issuer"

// trusts says whether credentials may be sent to a URL.
func (p *Provider) trusts(endpoint string) bool {
	origin, ok := originOf(endpoint)
	if home, _ := originOf(p.Issuer); !ok || origin == home {
		return ok
	}
	scheme, _, _ := strings.Cut(origin, "://")
	return slices.ContainsFunc(p.Hosts, func(host string) bool {
		named, ok := originOf(scheme + "://" + host)
		return ok && named == origin && strings.HasPrefix(p.Issuer, scheme+"://")
	})
}

// names makes a list of a server's fit to be shown.
func names(said []string) []string {
	const most = 32
	var list []string
	for _, name := range said[:min(len(said), most)] {
		list = append(list, cleaner{}.text(name))
	}
	return list
}

func discoveryError(err error) *Error {
	var known *Error
	var mismatch *oidc.IssuerMismatchError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &mismatch) && mismatch.Discovered == "":
		return invalidIssuer("the document names no issuer", "the issuer URL leads to something that is not an issuer")
	case errors.As(err, &mismatch):
		return invalidIssuer("the document is of the issuer "+cleaner{}.text(mismatch.Discovered),
			"the issuer URL must be exactly that, or Keycloak's hostname option must be set to the address in the issuer URL")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return noAnswer(opDiscovery, err)
	}
	return invalidIssuer("the answer is no discovery document", "the issuer URL must be the one of the realm, https://<host>/realms/<realm>")
}

func invalidIssuer(description, hint string) *Error {
	return &Error{Op: opDiscovery, Reason: ReasonIssuerInvalid, Description: description, Hint: hint}
}
