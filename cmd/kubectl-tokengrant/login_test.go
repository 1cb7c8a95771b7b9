package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

const offlineToken = "eyJhbGciOiJIUzUxMiJ9.eyJ0eXAiOiJPZmZsaW5lIn0.c2ln"

// deviceIssuer says at the first poll that the user has logged in.
func deviceIssuer(t *testing.T, refreshToken string) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	base := server.URL + "/realms/cloud"
	answer := func(w http.ResponseWriter, format string, args ...any) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, format, args...)
	}
	mux.HandleFunc("GET /realms/cloud/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, `{"issuer": %q, "token_endpoint": %q, "jwks_uri": %q, "device_authorization_endpoint": %q}`, base, base+"/token", base+"/certs", base+"/device")
	})
	mux.HandleFunc("POST /realms/cloud/device", func(w http.ResponseWriter, r *http.Request) {
		if id, secret, _ := r.BasicAuth(); id != "notes-sync" || secret != clientSecret || r.FormValue("scope") != "openid offline_access files" {
			t.Errorf("the request is not the grant's: client %q, scope %q", id, r.FormValue("scope"))
		}
		answer(w, `{"device_code": "device-code", "user_code": "ABCD-EFGH", "verification_uri": "https://id.example.com/device", "expires_in": 600, "interval": 1}`)
	})
	mux.HandleFunc("POST /realms/cloud/token", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("device_code") != "device-code" {
			t.Errorf("the device code is %q", r.FormValue("device_code"))
		}
		answer(w, `{"access_token": "a", "token_type": "Bearer", "refresh_token": %q, "scope": "openid offline_access"}`, refreshToken)
	})
	return server
}

func loginBench(t *testing.T, refreshToken string, more ...client.Object) (*bench, client.Client) {
	t.Helper()
	return loginBenchFor(t, readyGrant(), refreshToken, more...)
}

func loginBenchFor(t *testing.T, g *v1alpha1.TokenGrant, refreshToken string, more ...client.Object) (*bench, client.Client) {
	t.Helper()
	issuer := &v1alpha1.ClusterTokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Name: "keycloak"},
		Spec:       v1alpha1.ClusterTokenIssuerSpec{TokenIssuerSpec: v1alpha1.TokenIssuerSpec{URL: v1alpha1.HTTPURL(deviceIssuer(t, refreshToken).URL + "/realms/cloud")}},
	}
	credential := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "notes-client", Namespace: "apps"}, Data: map[string][]byte{"client-secret": []byte(clientSecret)}}
	b := newBench(t, interceptor.Funcs{}, append(more, g, issuer, credential)...)
	c, err := b.connect()
	if err != nil {
		t.Fatal(err)
	}
	return b, c
}

func existing(data map[string][]byte) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "alice", Namespace: "apps"}, Data: data}
}

func TestLoginWritesTheOfflineTokenAndDoesNotShowIt(t *testing.T) {
	for name, more := range map[string][]client.Object{
		"into a new Secret":                 nil,
		"beside the other keys of one":      {existing(map[string][]byte{"other": []byte("kept")})},
		"in place of a token, when told to": {existing(map[string][]byte{"other": []byte("kept"), "refresh_token": []byte("old")})},
	} {
		t.Run(name, func(t *testing.T) {
			b, c := loginBench(t, offlineToken, more...)
			b.golden(t, "login", exitGood, "login", "notes-sync", "-n", "apps", "--secret", "alice", "--scopes", "files", "--overwrite")
			var s corev1.Secret
			if err := c.Get(t.Context(), client.ObjectKey{Namespace: "apps", Name: "alice"}, &s); err != nil || string(s.Data["refresh_token"]) != offlineToken {
				t.Errorf("%v, the Secret has the keys %d", err, len(s.Data))
			}
			if len(more) > 0 && string(s.Data["other"]) != "kept" {
				t.Error("another key was lost")
			}
			if strings.Contains(b.out.String()+b.errOut.String(), "eyJ") || strings.Contains(b.errOut.String(), "device-code") {
				t.Error("a token or a code is shown")
			}
		})
	}
}

func TestLoginWritesWhereTheGrantLooks(t *testing.T) {
	g := readyGrant()
	g.Spec.Subject = &v1alpha1.Subject{OfflineTokenSecretRef: &v1alpha1.SecretKeyRef{Name: "alice", Key: "offline"}}
	b, c := loginBenchFor(t, g, offlineToken)
	b.golden(t, "login-used", exitGood, "login", "notes-sync", "-n", "apps", "--scopes", "files")
	var s corev1.Secret
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: "apps", Name: "alice"}, &s); err != nil || string(s.Data["offline"]) != offlineToken {
		t.Errorf("%v, the Secret has the keys %d", err, len(s.Data))
	}
}

func TestLoginRefusesBeforeAnybodyLogsIn(t *testing.T) {
	b, _ := loginBench(t, offlineToken, existing(map[string][]byte{"refresh_token": []byte("old")}))
	if code := b.run(t.Context(), []string{"login", "notes-sync", "-n", "apps", "--secret", "alice"}); code != exitBroken || !strings.Contains(b.errOut.String(), "--overwrite") {
		t.Errorf("exit code %d: %s", code, b.errOut.String())
	}
	if strings.Contains(b.errOut.String(), "ABCD") {
		t.Error("the user was asked to log in")
	}
	b, _ = loginBench(t, offlineToken)
	if code := b.run(t.Context(), []string{"login", "notes-sync", "-n", "apps"}); code != exitUsage {
		t.Errorf("exit code %d without --secret", code)
	}
}

func TestLoginWithoutAnOfflineTokenWritesNothing(t *testing.T) {
	b, c := loginBench(t, "")
	if code := b.run(t.Context(), []string{"login", "notes-sync", "-n", "apps", "--secret", "alice", "--scopes", "files"}); code != exitBroken {
		t.Errorf("exit code %d", code)
	}
	if s, err := readSecret(t.Context(), c, client.ObjectKey{Namespace: "apps", Name: "alice"}); s != nil || err != nil {
		t.Errorf("%v: a Secret was written", err)
	}
}
