package canary

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// source is where a secret value came from: a Secret, as namespace/name, or a server. The zero value belongs to no server.
type source struct{ secret, host string }

// target is where the value of a Secret may go: a server, or those of an issuer.
type target struct{ host, issuer string }

// owners is who may be sent what, learnt from each version of the grants and issuers: the value of a Secret belongs to the
// servers for which a grant or an issuer names that Secret; a token belongs to the server that gave it out and to the
// Nextclouds that grants of the same issuer name. Private keys and sealed sessions are named for no server.
type owners struct {
	// uses are by Secret. Those of ClusterTokenIssuers, whose namespace is the operator's, are by "*/name".
	uses map[string]map[target]bool
	// issuers are the servers of each issuer, and checks the Nextclouds of its grants, by namespace/name.
	issuers, checks map[string]map[string]bool
}

func newOwners() *owners {
	return &owners{map[string]map[target]bool{}, map[string]map[string]bool{}, map[string]map[string]bool{}}
}

// put adds to a set in a map.
func put[K comparable](sets map[string]map[K]bool, key string, member K) {
	if sets[key] == nil {
		sets[key] = map[K]bool{}
	}
	sets[key][member] = true
}

func (o *owners) grant(g *v1alpha1.TokenGrant) {
	issuer := target{issuer: g.Namespace + "/" + g.Spec.IssuerRef.Name}
	if g.Spec.IssuerRef.Kind == "ClusterTokenIssuer" {
		issuer.issuer = "/" + g.Spec.IssuerRef.Name
	}
	use := func(name string, where target) {
		if name != "" {
			put(o.uses, g.Namespace+"/"+name, where)
		}
	}
	published := g.SecretDelivery().Name
	if published == "" {
		published = g.Name
	}
	use(published, issuer)
	use(clientSecret(g.Spec.ServiceAccount), issuer)
	if s := g.Spec.Subject; s != nil {
		if s.TokenSecretRef != nil {
			use(s.TokenSecretRef.Name, issuer)
		}
		if s.OfflineTokenSecretRef != nil {
			use(s.OfflineTokenSecretRef.Name, issuer)
		}
		if s.Assertion != nil && s.Assertion.TokenSecretRef != nil {
			use(s.Assertion.TokenSecretRef.Name, issuer)
		}
	}
	if g.Spec.Check == nil {
		return
	}
	nextcloud := target{host: hostOf(string(g.Spec.Check.Nextcloud.URL))}
	put(o.checks, issuer.issuer, nextcloud.host)
	use(published, nextcloud)
	if a := g.Spec.AppPassword; a != nil {
		use(a.From.LoginSecretRef.Name, nextcloud)
	}
}

// issuer learns an issuer; secrets is the namespace of its Secrets.
func (o *owners) issuer(key, secrets string, spec *v1alpha1.TokenIssuerSpec) {
	put(o.issuers, key, hostOf(string(spec.URL)))
	for _, host := range spec.EndpointHosts {
		put(o.issuers, key, string(host))
	}
	if name := clientSecret(spec.ServiceAccount); name != "" {
		put(o.uses, secrets+"/"+name, target{issuer: key})
	}
}

// own reports whether a value of these sources belongs to a server.
func (o *owners) own(sources []source, host string) bool {
	return slices.ContainsFunc(sources, func(s source) bool {
		if s.host != "" {
			return s.host == host || o.checked(s.host, host)
		}
		_, name, _ := strings.Cut(s.secret, "/")
		for _, secret := range []string{s.secret, "*/" + name} {
			for where := range o.uses[secret] {
				if where.host == host || o.issuers[where.issuer][host] {
					return true
				}
			}
		}
		return false
	})
}

// checked reports whether a grant of an issuer at a server names a Nextcloud.
func (o *owners) checked(issuer, nextcloud string) bool {
	for key, nextclouds := range o.checks {
		if o.issuers[key][issuer] && nextclouds[nextcloud] {
			return true
		}
	}
	return false
}

// misplaced gives the findings in what reached servers.
func (w *Watch) misplaced() []string {
	if w.owners == nil {
		w.owners = newOwners()
	}
	var findings []string
	for _, r := range w.requests {
		for _, m := range w.matches(r.text) {
			if !w.owners.own(w.known[m.value].sources, r.host) {
				findings = append(findings, fmt.Sprintf("%s: %s reached a server that it does not belong to: %s", r.host, m.what, r.path))
			}
		}
	}
	return findings
}

func clientSecret(a *v1alpha1.ServiceAccount) string {
	if a == nil || a.ClientSecret == nil {
		return ""
	}
	return a.ClientSecret.SecretRef.Name
}

func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Host
}
