//go:build integration

package tenant

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

func useSecret(name string) func(*v1alpha1.TokenGrant) {
	return func(g *v1alpha1.TokenGrant) { g.Spec.ServiceAccount.ClientSecret.SecretRef.Name = name }
}

// useShared names the platform's issuer, and its client.
func useShared(g *v1alpha1.TokenGrant) {
	g.Spec.IssuerRef = v1alpha1.IssuerRef{Kind: "ClusterTokenIssuer", Name: "shared"}
	g.Spec.ServiceAccount = nil
}

// references are names of what belongs to others.
var references = []attempt{
	{"use a Secret of another namespace by its name", func(w *world) (string, string) {
		w.issuer("own", w.evil.URL)
		return w.withheld(grantOf(own, "name", "own", useSecret("agent")), v1alpha1.ReasonCredentialMissing, "not found")
	}},
	{"use a Secret of another namespace by a path", func(w *world) (string, string) {
		w.issuer("own", w.evil.URL)
		return refused(w.tenant.Create(w.t.Context(), grantOf(own, "path", "own", useSecret("../../apps/secrets/worker"))))
	}},
	{"use a TokenIssuer of another namespace", func(w *world) (string, string) {
		return w.withheld(grantOf(own, "issuer", "kc"), v1alpha1.ReasonIssuerNotFound, "in namespace")
	}},
	{"use a certificate authority of another namespace", func(w *world) (string, string) {
		i := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: own, Name: "ca"}}
		i.Spec.URL, i.Spec.CARef = v1alpha1.HTTPURL(w.evil.URL), &v1alpha1.CARef{Name: "ca"}
		w.apply(i)
		return w.withheld(grantOf(own, "ca", "ca"), v1alpha1.ReasonIssuerNotReady, "not found")
	}},
	{"use the platform's client, which is not open to them", func(w *world) (string, string) {
		return w.withheld(grantOf(own, "shared", "", useShared), v1alpha1.ReasonNotAllowed, "does not let namespace")
	}},
	{"act as another user through the platform's issuer", func(w *world) (string, string) {
		return w.withheld(grantOf(own, "admin", "", useShared, func(g *v1alpha1.TokenGrant) {
			g.Spec.ServiceAccount = grantOf("", "", "").Spec.ServiceAccount
			g.Spec.Exchange.RequestedSubject = "admin"
		}), v1alpha1.ReasonNotAllowed, "act as user")
	}},
	{"write over a Secret of another application", func(w *world) (string, string) {
		w.issuer("own", w.evil.URL)
		return w.withheld(grantOf(own, "over", "own", func(g *v1alpha1.TokenGrant) {
			g.Spec.Delivery = &v1alpha1.Delivery{Secret: &v1alpha1.SecretDelivery{Name: "database"}}
		}), v1alpha1.ReasonSecretConflict, "left untouched")
	}},
	{"make the operator ask the cloud's metadata service", func(w *world) (got, harm string) {
		for _, host := range []string{"169.254.169.254", "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]", "[::169.254.169.254]", "[fe80::1%25lo]"} {
			got, harm = w.issuerRefused(host)
			if harm != "" {
				return got, host + ": " + harm
			}
		}
		return got, harm
	}},
}
