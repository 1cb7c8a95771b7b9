package keycloak

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The interval is 5 s where the server says none, and the user logs in after the first poll.
func TestDeviceTokenPollsUntilTheUserHasLoggedIn(t *testing.T) {
	var forms []url.Values
	answers := []string{
		`{"device_code":"canary-code","user_code":"AB-CD","verification_uri":"https://id/device","verification_uri_complete":"https://id/device?c","expires_in":600,"interval":0}`,
		`{"error":"authorization_pending"}`, `{"access_token":"a","token_type":"Bearer","refresh_token":"r"}`,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		forms = append(forms, r.PostForm)
		answer := answers[len(forms)-1]
		if len(forms) == 2 {
			w.WriteHeader(http.StatusBadRequest)
		}
		_, _ = w.Write([]byte(answer))
	}))
	defer server.Close()
	c := Client{
		Provider: &Provider{TokenEndpoint: server.URL, DeviceAuthorizationEndpoint: server.URL}, ID: "cli", Auth: Public(), HTTP: server.Client(),
	}
	d, err := c.DeviceAuth(t.Context(), []string{"openid", "offline_access"})
	if err != nil {
		t.Fatal(err)
	}
	if d.UserCode != "AB-CD" || d.VerificationURI != "https://id/device" || d.VerificationURIComplete != "https://id/device?c" ||
		d.ExpiresIn != 10*time.Minute || d.Interval != 5*time.Second {
		t.Errorf("%+v", d)
	}
	d.Interval = time.Millisecond
	token, err := c.DeviceToken(t.Context(), d)
	if err != nil || token.AccessToken.Reveal() != "a" || token.RefreshToken.Reveal() != "r" {
		t.Errorf("%v", err)
	}
	poll := url.Values{"client_id": {"cli"}, "device_code": {"canary-code"}, "grant_type": {GrantTypeDeviceCode}}
	if diff := cmp.Diff([]url.Values{{"client_id": {"cli"}, "scope": {"openid offline_access"}}, poll, poll}, forms); diff != "" {
		t.Errorf("forms (-want +got):\n%s", diff)
	}
}

func TestDeviceTokenEndsWithTheLogin(t *testing.T) {
	for body, tt := range map[string]struct {
		reason string
		says   string
	}{
		`{"error":"access_denied"}`: {ReasonReloginRequired, "the user refused"},
		`{"error":"expired_token"}`: {ReasonReloginRequired, "too late"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(body))
		}))
		c := Client{Provider: &Provider{TokenEndpoint: server.URL, DeviceAuthorizationEndpoint: server.URL}, ID: "cli", Auth: Public(), HTTP: server.Client()}
		_, err := c.DeviceToken(t.Context(), DeviceAuthorization{Interval: time.Millisecond})
		wantError(t, err, tt.reason, tt.says)
		server.Close()
	}
	c := Client{Provider: &Provider{}, ID: "cli", Auth: Public()}
	_, err := c.DeviceAuth(t.Context(), nil)
	wantError(t, err, ReasonGrantTypeUnsupported, "no device_authorization_endpoint")
	empty := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"canary":1}`)) }))
	defer empty.Close()
	_, err = Client{Provider: &Provider{DeviceAuthorizationEndpoint: empty.URL}, ID: "cli", Auth: Public(), HTTP: empty.Client()}.DeviceAuth(t.Context(), nil)
	wantError(t, err, ReasonIssuerInvalid, "RFC 8628")
}
