package controllers

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/keycloak"
)

// TestADefaultThatMovesMintsNothing: what is absent and what names the default are the same. When another version writes the
// defaults into objects, or its schema does, nothing is minted.
func TestADefaultThatMovesMintsNothing(t *testing.T) {
	for name, g := range map[string]func(*v1alpha1.TokenGrant){
		"a client secret": func(*v1alpha1.TokenGrant) {},
		"an exchange": func(g *v1alpha1.TokenGrant) {
			g.Spec.Exchange = &v1alpha1.Exchange{Audiences: []v1alpha1.Audience{"nextcloud"}}
		},
		"another party's token": func(g *v1alpha1.TokenGrant) {
			g.Spec.Exchange = &v1alpha1.Exchange{Audiences: []v1alpha1.Audience{"nextcloud"}}
			g.Spec.Subject = &v1alpha1.Subject{TokenSecretRef: &v1alpha1.SecretKeyRef{Name: "alice"}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLooping(t)
			token := l.keycloak.Sign(l.keycloak.Claims("alice", "c", "c"))
			l.make(
				&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "client"}, Data: map[string][]byte{"client-secret": []byte("right")}},
				&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "alice"}, Data: map[string][]byte{"access_token": []byte(token)}},
			)
			grant := l.client("g")
			grant.Spec.IssuerRef.Kind = ""
			grant.Spec.ServiceAccount.ClientSecret = &v1alpha1.ClientSecret{SecretRef: v1alpha1.SecretKeyRef{Name: "client"}}
			g(grant)
			l.make(grant)
			l.look("g")
			if !l.ready() {
				t.Fatal(l.message())
			}
			before := l.tokens()
			l.change("g", func(g *v1alpha1.TokenGrant) { g.Default() })
			if after := l.tokens(); !l.ready() || after != before {
				t.Errorf("%d tokens, want %d: %s", after, before, l.message())
			}
		})
	}
	t.Run("an app password", func(t *testing.T) {
		b := newBench(t, func(g *v1alpha1.TokenGrant) { g.Spec.Check = nil })
		b.run()
		made := b.password()
		b.edit(func(g *v1alpha1.TokenGrant) { g.Default() })
		b.run()
		if b.password() != made {
			t.Error("another one was made")
		}
	})
}

// tokens counts those that the issuer gave out.
func (l *looping) tokens() int {
	return l.asked() + l.keycloak.Count(keycloak.GrantTypeTokenExchange)
}
