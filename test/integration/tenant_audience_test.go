package integration

import (
	"fmt"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// TestTenantGetsNoTokenForTheAPIServer: a ServiceAccount is annotated, and a grant sends its token to the tenant's server.
func TestTenantGetsNoTokenForTheAPIServer(t *testing.T) {
	s := newTenants(t)
	as := func(audience string) func(*v1alpha1.TokenGrant) {
		return func(g *v1alpha1.TokenGrant) {
			g.Spec.ServiceAccount.ClientSecret = nil
			g.Spec.ServiceAccount.KubernetesToken = &v1alpha1.KubernetesToken{Audience: audience}
		}
	}
	s.secret("own", map[string]string{"client-secret": "worker-secret"})
	for n, tt := range []struct {
		annotation, audience, says string
	}{
		{"true", cluster.url, "the API server accepts them"},
		{"true", "https://kubernetes.default.svc", "the API server accepts them"},
		{cluster.url, cluster.url, "the API server accepts them"},
		{"vault," + cluster.url, cluster.url, "the API server accepts them"},
		{"true", "vault", fmt.Sprintf("annotate it with %s: \"%s,vault\"", v1alpha1.AllowTokenRequestAnnotation, s.evil.URL)},
		{"vault", "", fmt.Sprintf("annotate it with %s: \"vault,%s\"", v1alpha1.AllowTokenRequestAnnotation, s.evil.URL)},
	} {
		name := fmt.Sprint("sync-", n)
		s.account(name, tt.annotation)
		own := s.grantFor(name, "own", "worker", as(tt.audience))
		own.Spec.ServiceAccount.KubernetesToken.ServiceAccountName = name
		subject := s.grantFor(name+"-subject", "own", "worker", as(tt.audience))
		subject.Spec.Subject = &v1alpha1.Subject{Assertion: &v1alpha1.Assertion{KubernetesToken: own.Spec.ServiceAccount.KubernetesToken}}
		subject.Spec.ServiceAccount = &v1alpha1.ServiceAccount{ClientID: "worker", ClientSecret: &v1alpha1.ClientSecret{SecretRef: v1alpha1.SecretKeyRef{Name: "own"}}}
		for _, g := range []*v1alpha1.TokenGrant{own, subject} {
			s.create(g)
		}
		for _, g := range []*v1alpha1.TokenGrant{own, subject} {
			s.eventually(g.Name+" is decided", func() (bool, string) {
				c := s.condition(g)
				return c != "" && !strings.HasPrefix(c, v1alpha1.ReasonPending), c
			})
			contains(t, s.condition(g), v1alpha1.ReasonNotAllowed, tt.says)
		}
	}
	for _, token := range s.assertions() {
		t.Errorf("the tenant's server got a token for %v; to the API server it is %q", audienceOf(t, token), whoIs(t, token))
	}
}

// TestTenantGetsTokensForListedAudiences, of which the API server accepts none.
func TestTenantGetsTokensForListedAudiences(t *testing.T) {
	s := newTenants(t)
	for name, tt := range map[string]struct{ annotation, audience, want string }{
		"true":   {"true", "", s.evil.URL},
		"listed": {"vault, sts.example.com", "sts.example.com", "sts.example.com"},
	} {
		s.account(name, tt.annotation)
		before := len(s.assertions())
		s.create(s.grantFor(name, "own", "worker", func(g *v1alpha1.TokenGrant) {
			g.Spec.ServiceAccount.ClientSecret = nil
			g.Spec.ServiceAccount.KubernetesToken = &v1alpha1.KubernetesToken{ServiceAccountName: name, Audience: tt.audience}
		}))
		s.eventually(name+" is sent", func() (bool, string) { return len(s.assertions()) > before, "" })
		token := s.assertions()[before]
		if aud := audienceOf(t, token); aud != "["+tt.want+"]" {
			t.Errorf("%s: aud = %s, want %s alone", name, aud, tt.want)
		}
		if user := whoIs(t, token); user != "" {
			t.Errorf("%s: to the API server it is %q", name, user)
		}
	}
}

func (s *tenants) account(name, annotation string) {
	s.t.Helper()
	s.create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{
		Namespace: s.namespace, Name: name, Annotations: map[string]string{v1alpha1.AllowTokenRequestAnnotation: annotation},
	}})
}

// condition is reason and message of Ready, once it is not Unknown.
func (s *tenants) condition(g *v1alpha1.TokenGrant) string {
	_ = s.Get(s.t.Context(), client.ObjectKeyFromObject(g), g)
	for _, c := range g.Status.Conditions {
		if c.Type == v1alpha1.ConditionReady && c.Status != metav1.ConditionUnknown {
			return c.Reason + ": " + c.Message
		}
	}
	return ""
}

// assertions are the tokens that the tenant's server got, as client assertions and as assertions of a subject.
func (s *tenants) assertions() []string {
	var got []string
	for _, r := range s.evil.Requests() {
		for _, field := range []string{"client_assertion", "assertion"} {
			if v := r.Form.Get(field); v != "" {
				got = append(got, v)
			}
		}
	}
	return got
}

func audienceOf(t *testing.T, token string) string {
	t.Helper()
	return fmt.Sprint(claimsIn(t, &corev1.Secret{Data: map[string][]byte{"access_token": []byte(token)}})["aud"])
}

// whoIs says as whom the API server accepts a token; "" if it does not.
func whoIs(t *testing.T, token string) string {
	t.Helper()
	config := rest.AnonymousClientConfig(cluster.operator)
	config.BearerToken = token
	c, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	review, err := c.AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	switch {
	case apierrors.IsUnauthorized(err):
		return ""
	case err != nil:
		t.Fatal(err)
	}
	return review.Status.UserInfo.Username
}
