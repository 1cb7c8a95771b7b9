package canary

import (
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// What the servers of these tests give out.
const (
	refreshToken = "refresh-token-of-alice"
	appPassword  = "app-password-of-alice"
)

// fixture is a Watch of two namespaces, each with an issuer and a Nextcloud of its own, and of a ClusterTokenIssuer.
type fixture struct {
	*Watch
	t       *testing.T
	servers map[string]string // URLs
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{&Watch{}, t, map[string]string{}}
	for name, answer := range map[string]string{
		"good": `{"access_token":"` + jwt + `","refresh_token":"` + refreshToken + `"}`, "evil": `{"access_token":"an-opaque-token"}`,
		"cloud": `{"ocs":{"data":{"apppassword":"` + appPassword + `"}}}`, "evilcloud": `{"ocs":{"data":[]}}`, "endpoint": `{}`,
	} {
		server := httptest.NewServer(f.Serves(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer) })))
		t.Cleanup(server.Close)
		f.servers[name] = server.URL
	}
	changes := watch.NewFakeWithChanSize(10, false)
	for _, o := range []runtime.Object{
		named(&corev1.Secret{Data: map[string][]byte{"client-secret": []byte(secret)}}, "apps", "client"),
		named(&corev1.Secret{Data: map[string][]byte{"client-secret": []byte("secret-of-the-operator")}}, "operator", "shared"),
		named(&corev1.Secret{Data: map[string][]byte{"keys": []byte("a-sealed-session")}}, "apps", "g-tokengrant-session"),
		named(&corev1.Secret{Data: map[string][]byte{"password": []byte("password-of-alice")}}, "apps", "login"),
		f.issuer("apps", "good", f.servers["endpoint"]), f.issuer("tenant", "evil", ""),
		named(&v1alpha1.ClusterTokenIssuer{Spec: v1alpha1.ClusterTokenIssuerSpec{TokenIssuerSpec: v1alpha1.TokenIssuerSpec{
			URL: v1alpha1.HTTPURL(f.servers["good"]), ServiceAccount: account("shared"),
		}}}, "", "all"),
		f.grant("apps", "good", "cloud", "client"), f.grant("tenant", "evil", "evilcloud", "client"),
		named(&v1alpha1.TokenGrant{Spec: v1alpha1.TokenGrantSpec{
			AppPassword: &v1alpha1.AppPassword{Nextcloud: v1alpha1.NextcloudServer{URL: v1alpha1.HTTPURL(f.servers["cloud"])}, From: v1alpha1.AppPasswordSource{LoginSecretRef: &v1alpha1.SecretRef{Name: "login"}}},
			Check:       &v1alpha1.Check{Nextcloud: &v1alpha1.NextcloudCheck{URL: v1alpha1.HTTPURL(f.servers["cloud"])}},
		}}, "apps", "password"),
	} {
		changes.Add(o)
	}
	changes.Stop()
	f.hear(changes)
	for _, base := range f.servers {
		f.post(base, "", nil)
	}
	f.Said("a log", "nothing")
	return f
}

func named[T metav1.Object](o T, namespace, name string) T {
	o.SetNamespace(namespace)
	o.SetName(name)
	return o
}

func account(secret string) *v1alpha1.ServiceAccount {
	return &v1alpha1.ServiceAccount{ClientID: "worker", ClientSecret: &v1alpha1.ClientSecret{SecretRef: v1alpha1.SecretKeyRef{Name: secret}}}
}

func (f *fixture) issuer(namespace, name, endpoint string) *v1alpha1.TokenIssuer {
	i := named(&v1alpha1.TokenIssuer{}, namespace, name)
	i.Spec.URL = v1alpha1.HTTPURL(f.servers[name] + "/realms/x")
	if endpoint != "" {
		i.Spec.EndpointHosts = append(i.Spec.EndpointHosts, v1alpha1.EndpointHost(strings.TrimPrefix(endpoint, "http://")))
	}
	return i
}

func (f *fixture) grant(namespace, issuer, nextcloud, secret string) *v1alpha1.TokenGrant {
	g := named(&v1alpha1.TokenGrant{}, namespace, "g")
	g.Spec.IssuerRef.Name, g.Spec.ServiceAccount = issuer, account(secret)
	g.Spec.Check = &v1alpha1.Check{Nextcloud: &v1alpha1.NextcloudCheck{URL: v1alpha1.HTTPURL(f.servers[nextcloud])}}
	return g
}

// post sends a request to a server.
func (f *fixture) post(address, body string, header http.Header) {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header = header.Clone()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	_ = resp.Body.Close()
}

// TestValuesAtOtherServersAreFound plants a leak for each way to send a value.
func TestValuesAtOtherServersAreFound(t *testing.T) {
	escaped := "Basic " + base64.StdEncoding.EncodeToString([]byte("worker:"+url.QueryEscape(secret)))
	for name, tc := range map[string]struct {
		value, server, query, body, header string
		belongs                            bool
	}{
		"a client secret, to its issuer":          {server: "good", body: url.Values{"client_secret": {secret}}.Encode(), belongs: true},
		"a client secret, to a host of endpoints": {server: "endpoint", header: escaped, belongs: true},
		"a client secret in a form":               {server: "evil", body: url.Values{"client_secret": {secret}}.Encode()},
		"a client secret in basic authentication": {server: "evil", header: escaped},
		"a client secret in a query":              {server: "evil", query: "?x=" + url.QueryEscape(secret)},
		"a client secret, to a Nextcloud":         {server: "cloud", header: "Bearer " + secret},
		"the operator's, to the shared issuer":    {server: "good", body: "secret-of-the-operator", belongs: true},
		"the operator's, elsewhere":               {server: "evil", body: "secret-of-the-operator"},
		"a sealed session, to its issuer":         {server: "good", body: "a-sealed-session"},
		"a refresh token, to its issuer":          {server: "good", body: refreshToken, belongs: true},
		"a refresh token, to another issuer":      {server: "evil", body: refreshToken},
		"an access token, to its Nextcloud":       {server: "cloud", header: "Bearer " + jwt, belongs: true},
		"an access token, to another Nextcloud":   {server: "evilcloud", header: "Bearer " + jwt},
		"the payload of an access token":          {server: "evil", body: strings.Split(jwt, ".")[1]},
		"a password, to its Nextcloud":            {server: "cloud", header: "Basic " + base64.StdEncoding.EncodeToString([]byte("alice:password-of-alice")), belongs: true},
		"a password, to an issuer":                {server: "good", body: "password-of-alice"},
		"an app password, to its Nextcloud":       {server: "cloud", header: "Bearer " + appPassword, belongs: true},
		"an app password, to another":             {server: "evilcloud", header: "Bearer " + appPassword},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.post(f.servers[tc.server]+tc.query, tc.body, http.Header{"Authorization": {tc.header}})
			err := f.Found()
			if tc.belongs && err != nil {
				t.Error(err)
			}
			host := strings.TrimPrefix(f.servers[tc.server], "http://")
			if !tc.belongs && (err == nil || !strings.Contains(err.Error(), host+": ")) {
				t.Errorf("not found at %s: %v", host, err)
			}
		})
	}
}

// TestAServerThatReflectsOwnsNothing gives back, as its own token, what it was sent.
func TestAServerThatReflectsOwnsNothing(t *testing.T) {
	f := newFixture(t)
	server := httptest.NewServer(f.Serves(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, `{"access_token":"`+string(body)+`"}`)
	})))
	t.Cleanup(server.Close)
	f.post(server.URL, refreshToken, nil)
	if err := f.Found(); err == nil || !strings.Contains(err.Error(), "reached a server that it does not belong to") {
		t.Errorf("not found: %v", err)
	}
}

// TestAHandlerBehindServesReadsTheWholeRequest checks that the search changes nothing.
func TestAHandlerBehindServesReadsTheWholeRequest(t *testing.T) {
	var w Watch
	body := strings.Repeat("x", longest+10)
	var got int
	server := httptest.NewServer(w.Serves(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		all, _ := io.ReadAll(r.Body)
		got = len(all)
		if err := http.NewResponseController(rw).Flush(); err != nil {
			t.Error(err)
		}
	})))
	t.Cleanup(server.Close)
	(&fixture{&w, t, nil}).post(server.URL, body, nil)
	if got != len(body) {
		t.Errorf("read %d bytes of %d", got, len(body))
	}
}
