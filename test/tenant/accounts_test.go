//go:build integration

package tenant

import (
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// accounts are attempts to get tokens of ServiceAccounts, and of the API server's audience.
var accounts = []attempt{
	{"get a token of a ServiceAccount of another namespace", func(w *world) (string, string) {
		w.issuer("own", w.evil.URL)
		return w.withheld(grantOf(own, "bot", "own", asAccount("bot", "")), v1alpha1.ReasonCredentialMissing, "not found in namespace")
	}},
	{"get a token of a ServiceAccount that nobody has annotated", func(w *world) (string, string) {
		w.issuer("own", w.evil.URL)
		w.account("plain", "")
		return w.withheld(grantOf(own, "plain", "own", asAccount("plain", "")), v1alpha1.ReasonNotAllowed, v1alpha1.AllowTokenRequestAnnotation)
	}},
	{"get a token for the API server, with the annotation \"true\"", func(w *world) (string, string) {
		return w.forTheAPIServer("true")
	}},
	{"get a token for the API server, with an annotation that lists it", func(w *world) (string, string) {
		return w.forTheAPIServer(w.plane.URL + ", https://kubernetes.default.svc")
	}},
	{"get a token for an audience that the annotation does not list", func(w *world) (string, string) {
		w.issuer("own", w.evil.URL)
		w.account("narrow", "https://id.example.com/realms/cloud")
		return w.withheld(grantOf(own, "narrow", "own", asAccount("narrow", "vault")), v1alpha1.ReasonNotAllowed, v1alpha1.AllowTokenRequestAnnotation)
	}},
}

// asAccount authenticates by a ServiceAccount's token.
func asAccount(name, audience string) func(*v1alpha1.TokenGrant) {
	return func(g *v1alpha1.TokenGrant) {
		g.Spec.ServiceAccount.ClientSecret = nil
		g.Spec.ServiceAccount.KubernetesToken = &v1alpha1.KubernetesToken{ServiceAccountName: name, Audience: audience}
	}
}

// account makes a ServiceAccount of the tenant's, annotated unless allow is empty.
func (w *world) account(name, allow string) {
	w.t.Helper()
	a := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: own, Name: name}}
	if allow != "" {
		a.Annotations = map[string]string{v1alpha1.AllowTokenRequestAnnotation: allow}
	}
	w.apply(a)
	w.t.Cleanup(func() { _ = w.admin.Delete(w.plain(), a) })
}

// forTheAPIServer tries the audiences that API servers take, as a client's and as a subject's assertion.
func (w *world) forTheAPIServer(allow string) (got, harm string) {
	w.t.Helper()
	w.issuer("own", w.evil.URL)
	w.account("sync", allow)
	for n, audience := range []string{w.plane.URL, "https://kubernetes.default.svc", "https://kubernetes.default.svc.cluster.local"} {
		grant := grantOf(own, fmt.Sprintf("api-%d", n), "own", asAccount("sync", audience))
		before := len(w.evil.Requests())
		w.apply(grant)
		c := w.condition(grant)
		got = c.Reason + ": " + c.Message
		request, sent := w.awaitRequest(w.evil, before, time.Second)
		token := request.Form.Get("client_assertion")
		switch {
		case sent && w.taken(token):
			return got, "the tenant's server got a token that the API server takes"
		case sent:
			return got, "the tenant's server got a token for " + audienceOf(token)
		}
	}
	return got, ""
}

// taken says whether the API server lets the bearer of a token in.
func (w *world) taken(token string) bool {
	bare := rest.AnonymousClientConfig(w.plane.Config)
	bare.BearerToken = token
	who, err := kubernetes.NewForConfig(bare)
	w.must(err)
	_, err = who.AuthenticationV1().SelfSubjectReviews().Create(w.t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	return err == nil
}

// audienceOf shows the claims of a token.
func audienceOf(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "nobody knows whom"
	}
	claims, _ := base64.RawURLEncoding.DecodeString(parts[1])
	return string(claims)
}
