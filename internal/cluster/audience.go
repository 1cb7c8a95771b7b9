// Package cluster holds what the operator and its tools ask of a Kubernetes API server.
package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/keycloak"
)

// wellKnownAudiences are API audiences of common distributions, refused also where the API server's own are unknown.
var wellKnownAudiences = []string{
	"https://kubernetes.default.svc", "https://kubernetes.default.svc.cluster.local", "https://kubernetes.default", "https://kubernetes",
}

// APIAudiences are the audiences of ServiceAccount tokens that the API server itself accepts. The zero value knows the
// well-known ones only.
type APIAudiences []string

// LearnAPIAudiences finds the API audiences in three places: the URL by which the API server is reached; the token with
// which the config authenticates, because a token that a kubelet mounts by default has all of them; and the issuer in the
// API server's discovery document, which every ServiceAccount may read. It creates no token and needs no further
// permission.
func LearnAPIAudiences(ctx context.Context, config *rest.Config) (APIAudiences, error) {
	learnt := APIAudiences{strings.TrimSuffix(config.Host, "/")}
	token := config.BearerToken
	if config.BearerTokenFile != "" {
		content, err := os.ReadFile(config.BearerTokenFile)
		if err != nil {
			return nil, fmt.Errorf("learning the API server's audiences: %w", err)
		}
		token = string(content)
	}
	if claims, err := keycloak.UnverifiedClaims(sensitive.New(token)); err == nil {
		learnt = append(append(learnt, claims.Audience...), claims.Issuer)
	}
	issuer, err := discoverIssuer(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("learning the API server's audiences: %w", err)
	}
	learnt = slices.DeleteFunc(append(learnt, issuer), func(a string) bool { return a == "" })
	slices.Sort(learnt)
	return slices.Compact(learnt), nil
}

// discoverIssuer gives "" where the document may not be read or is not served.
func discoverIssuer(ctx context.Context, config *rest.Config) (string, error) {
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return "", err
	}
	raw, err := client.RESTClient().Get().AbsPath("/.well-known/openid-configuration").Do(ctx).Raw()
	switch {
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err), apierrors.IsNotFound(err):
		return "", nil
	case err != nil:
		return "", err
	}
	var document struct {
		Issuer string `json:"issuer"`
	}
	if err := json.Unmarshal(raw, &document); err != nil {
		return "", errors.New("its discovery document is no JSON")
	}
	return document.Issuer, nil
}

func (a APIAudiences) contain(audience string) bool {
	return slices.Contains(wellKnownAudiences, audience) || slices.Contains(a, audience)
}

// A RefusedAudience says why a token of a ServiceAccount may not be requested.
type RefusedAudience struct {
	Audience string
	// Annotation is the value of AllowTokenRequestAnnotation that would allow the request; "" when none would.
	Annotation string
	why        string
}

func (r *RefusedAudience) Error() string { return r.why }

// AllowTokenRequest decides about a token of a ServiceAccount for one audience. The value of the ServiceAccount's
// AllowTokenRequestAnnotation is a comma-separated list of audiences, or "true" for the URL of the grant's issuer alone.
// API audiences are refused whatever it says. The error is a *RefusedAudience.
func (a APIAudiences) AllowTokenRequest(annotation, issuerURL, audience string) error {
	switch {
	case audience == "", a.contain(audience):
		return &RefusedAudience{Audience: audience, why: fmt.Sprintf("tokens for audience %q are never requested, because the API server accepts them: set another audience", audience)}
	case strings.TrimSpace(audience) != audience, strings.Contains(audience, ","):
		return &RefusedAudience{Audience: audience, why: fmt.Sprintf("audience %q cannot be listed in an annotation, because of its comma or white space: set another audience", audience)}
	}
	allowed := allowedAudiences(annotation, issuerURL)
	if slices.Contains(allowed, audience) {
		return nil
	}
	r := &RefusedAudience{Audience: audience, Annotation: "true"}
	if len(allowed) > 0 || audience != issuerURL {
		r.Annotation = strings.Join(append(allowed, audience), ",")
	}
	r.why = fmt.Sprintf("tokens for audience %q are not allowed: annotate it with %s: %q", audience, v1alpha1.AllowTokenRequestAnnotation, r.Annotation)
	return r
}

func allowedAudiences(annotation, issuerURL string) []string {
	if strings.TrimSpace(annotation) == "true" {
		return []string{issuerURL}
	}
	var allowed []string
	for entry := range strings.SplitSeq(annotation, ",") {
		if entry = strings.TrimSpace(entry); entry != "" {
			allowed = append(allowed, entry)
		}
	}
	return allowed
}
