package keycloak

import (
	"context"
	"net/url"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// TLS authenticates with the certificate of the TLS connection (RFC 8705 §2.1, tls_client_auth). In the request it only
// names the client: presenting the certificate is the business of Client.HTTP, which the caller builds for this one
// certificate (httpclient.Options.ClientCertificate) and builds anew when the certificate changes, because a kept
// connection stays with the one it was opened with.
//
// Requests go to the aliases of the discovery document where it has some (RFC 8705 §5). They have to be on the scheme
// and host of the issuer, on any port, or on one of Provider.Hosts.
func TLS() ClientAuth { return tlsClient{} }

type tlsClient struct{}

func (tlsClient) method() string { return methodTLS }

func (tlsClient) authenticate(_ context.Context, p *Provider, cfg *clientcredentials.Config) error {
	alias := map[string]string{
		p.TokenEndpoint: p.MTLSTokenEndpoint, p.RevocationEndpoint: p.MTLSRevocationEndpoint,
	}[cfg.TokenURL]
	if alias != "" {
		if !onHostOf(p.Issuer, alias) && !p.trusts(alias) {
			return invalidIssuer("mtls_endpoint_aliases of the discovery document leads to another host than the issuer's", elsewhere)
		}
		cfg.TokenURL = alias
	}
	cfg.AuthStyle = oauth2.AuthStyleInParams
	return nil
}

// onHostOf reports whether two URLs differ in port, path and what follows at most.
func onHostOf(issuer, endpoint string) bool {
	a, err := url.Parse(issuer)
	if err != nil {
		return false
	}
	b, err := url.Parse(endpoint)
	return err == nil && a.Scheme == b.Scheme && a.Hostname() == b.Hostname()
}
