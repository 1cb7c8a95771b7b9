package main

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
	"github.com/tokengrant/tokengrant/nextcloud/nextcloudtest"
)

const clientSecret = "s3cret-of-notes-sync"

// installation is a grant whose issuer and Nextcloud are there.
type installation struct {
	keycloak  *keycloaktest.Server
	nextcloud *nextcloudtest.Server
	grant     *v1alpha1.TokenGrant
	secret    *corev1.Secret
	issuer    *v1alpha1.ClusterTokenIssuer
	funcs     interceptor.Funcs
	replace   []string
}

func (i *installation) bench(t *testing.T, more ...client.Object) *bench {
	t.Helper()
	server := httptest.NewServer(i.nextcloud.Handler())
	t.Cleanup(server.Close)
	if i.grant.Spec.Check != nil {
		i.grant.Spec.Check.Nextcloud.URL = v1alpha1.HTTPURL(server.URL)
	}
	objects := slices.Concat(more, []client.Object{i.grant, i.issuer})
	if i.secret != nil {
		objects = append(objects, i.secret)
	}
	b := newBench(t, i.funcs, objects...)
	b.now = time.Now
	b.replace = slices.Concat(i.replace, []string{strings.TrimSuffix(i.keycloak.URL, "/realms/tokengrant"), "https://id.example.com", server.URL, "https://cloud.example.com"})
	return b
}

func install(t *testing.T, options ...keycloaktest.Options) *installation {
	t.Helper()
	i := &installation{keycloak: keycloaktest.NewServer(t, options...), grant: readyGrant()}
	i.keycloak.Client("notes-sync", clientSecret)
	i.nextcloud = nextcloudtest.New(nextcloudtest.Options{Issuer: i.keycloak.URL})
	i.grant.Status.Check = nil
	i.secret = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "notes-client", Namespace: "apps"}, Data: map[string][]byte{"client-secret": []byte(clientSecret)}}
	i.issuer = &v1alpha1.ClusterTokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Name: "keycloak"},
		Spec:       v1alpha1.ClusterTokenIssuerSpec{TokenIssuerSpec: v1alpha1.TokenIssuerSpec{URL: v1alpha1.HTTPURL(i.keycloak.URL)}},
		Status:     v1alpha1.IssuerStatus{Conditions: []metav1.Condition{condition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonDiscovered, "The issuer answers; token exchange: Standard.")}},
	}
	return i
}

func TestDoctorNamesTheFirstBrokenStepAndItsCure(t *testing.T) {
	alter := func(change func(*keycloaktest.Client)) func(*installation) {
		return func(i *installation) {
			c := keycloaktest.Client{ID: "notes-sync", Secret: clientSecret, Audience: []string{"nextcloud"}}
			change(&c)
			i.keycloak.SetClient(c)
		}
	}
	for name, test := range map[string]struct {
		change func(*installation)
		code   int
		args   []string
	}{
		"doctor-healthy":              {change: func(*installation) {}},
		"doctor-wrong-secret":         {func(i *installation) { i.secret.Data["client-secret"] = []byte("wrong") }, exitBroken, nil},
		"doctor-unknown-client":       {func(i *installation) { i.grant.Spec.ServiceAccount.ClientID = "nosuch" }, exitBroken, nil},
		"doctor-disabled-client":      {alter(func(c *keycloaktest.Client) { c.Disabled = true }), exitBroken, nil},
		"doctor-exchange-not-enabled": {alter(func(c *keycloaktest.Client) { c.NoExchange = true }), exitBroken, nil},
		"doctor-no-mapper":            {alter(func(c *keycloaktest.Client) { c.Audience = nil }), exitBroken, nil},
		"doctor-unknown-realm": {func(i *installation) {
			i.issuer.Spec.URL = v1alpha1.HTTPURL(strings.Replace(i.keycloak.URL, "tokengrant", "nosuch", 1))
		}, exitBroken, nil},
		"doctor-bearer-off":                {func(i *installation) { i.nextcloud.SetCheckBearer(false) }, exitBroken, nil},
		"doctor-other-client-id":           {func(i *installation) { i.nextcloud.Configure(func(s *nextcloudtest.Settings) { s.ClientID = "cloud" }) }, exitBroken, nil},
		"doctor-forbidden":                 {func(i *installation) { i.funcs = forbid("Secret") }, exitBroken, nil},
		"doctor-missing-secret":            {func(i *installation) { i.secret = nil }, exitBroken, nil},
		"doctor-short-life":                {func(i *installation) { i.keycloak.SetLifespan(time.Minute) }, exitGood, nil},
		"doctor-exchange-not-enabled-json": {alter(func(c *keycloaktest.Client) { c.NoExchange = true }), exitBroken, []string{"-o", "json"}},
	} {
		t.Run(name, func(t *testing.T) {
			i := install(t)
			test.change(i)
			b := i.bench(t)
			b.golden(t, name, test.code, append([]string{"doctor", "notes-sync", "-n", "apps"}, test.args...)...)
			if strings.Contains(b.out.String(), "eyJ") || strings.Contains(b.out.String(), clientSecret) {
				t.Error("a token or a secret is shown")
			}
		})
	}
}

func TestDoctorExaminesAnIssuer(t *testing.T) {
	i := install(t)
	i.bench(t).golden(t, "doctor-issuer", exitGood, "doctor", "--cluster-issuer", "keycloak")
	if code := i.bench(t).run(t.Context(), []string{"doctor", "--issuer", "keycloak"}); code != exitBroken {
		t.Errorf("exit code %d for an issuer that is not there", code)
	}
}
