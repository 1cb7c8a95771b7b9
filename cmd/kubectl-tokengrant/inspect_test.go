package main

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/controllers/publish"
)

// publishedToken is the token of readyGrant, and published the Secret that the operator made of it.
func publishedToken(g *v1alpha1.TokenGrant) string {
	t := g.Status.Token
	return part(map[string]any{"alg": "RS256", "typ": "JWT", "kid": "key-1"}) + "." + part(map[string]any{
		"sub": t.Subject, "preferred_username": t.Username, "azp": t.ClientID, "aud": t.Audiences[0], "scope": strings.Join(t.Scopes, " "),
		"iat": t.IssuedAt.Unix(), "exp": t.ExpiresAt.Unix(), "nested": "eyJhbGciOiJub25lIn0.eyJhIjoxfQ.",
	}) + ".c2lnbmF0dXJl"
}

func published(t *testing.T, g *v1alpha1.TokenGrant, data map[string][]byte) *corev1.Secret {
	t.Helper()
	record, err := plan.Record{Token: *g.Status.Token, Inputs: "i", KeyID: "key-1"}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return publish.Build(nil, publish.Desired{
		Name: g.Status.SecretName, Namespace: g.Namespace, Grant: g.Name, Data: data, Record: record,
		Owner: *metav1.NewControllerRef(g, v1alpha1.GroupVersion.WithKind("TokenGrant")),
	})
}

func TestInspectShowsTheClaimsAndNeverTheToken(t *testing.T) {
	defaults := func(token string) map[string][]byte {
		return map[string][]byte{"access_token": []byte(token), "token_type": []byte("Bearer")}
	}
	for name, test := range map[string]struct {
		change func(*v1alpha1.TokenGrant, *corev1.Secret)
		data   func(token string) map[string][]byte
		code   int
		args   []string
	}{
		"inspect":      {},
		"inspect-json": {args: []string{"-o", "json"}},
		"inspect-yaml": {args: []string{"-o", "yaml"}},
		"inspect-template": {data: func(token string) map[string][]byte {
			return map[string][]byte{"curlrc": []byte(`header = "Authorization: Bearer ` + token + `"`)}
		}},
		"inspect-other-token": {code: exitBroken, change: func(g *v1alpha1.TokenGrant, s *corev1.Secret) {
			other := g.DeepCopy()
			other.Status.Token.Audiences, other.Status.Token.Username = []string{"account"}, "alice"
			other.Status.Token.ExpiresAt = at(-time.Minute)
			s.Data["access_token"] = []byte(publishedToken(other))
		}},
		"inspect-no-record": {code: exitBroken, change: func(_ *v1alpha1.TokenGrant, s *corev1.Secret) { s.Annotations = nil }},
		"inspect-foreign":   {code: exitBroken, change: func(_ *v1alpha1.TokenGrant, s *corev1.Secret) { s.OwnerReferences = nil }},
		"inspect-opaque":    {code: exitBroken, data: func(string) map[string][]byte { return map[string][]byte{"access_token": []byte("opaque")} }},
		"inspect-garbage":   {code: exitBroken, data: func(string) map[string][]byte { return map[string][]byte{"access_token": []byte("eyJhIjoxfQ.eyJh.c")} }},
	} {
		t.Run(name, func(t *testing.T) {
			g := readyGrant()
			if test.data == nil {
				test.data = defaults
			}
			token := publishedToken(g)
			s := published(t, g, test.data(token))
			if test.change != nil {
				test.change(g, s)
			}
			b := newBench(t, interceptor.Funcs{}, g, s)
			b.golden(t, name, test.code, append([]string{"inspect", "notes-sync", "-n", "apps"}, test.args...)...)
			for p := range strings.SplitSeq(token, ".") {
				if strings.Contains(b.out.String(), p) {
					t.Errorf("a part of the token is shown: %s", p)
				}
			}
			if jwt.MatchString(b.out.String()) {
				t.Error("a token is shown")
			}
		})
	}
}
