package main

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestShortenKeepsNothingUsable(t *testing.T) {
	for name, test := range map[string]struct{ token, want string }{
		"a long token keeps the beginning of its header": {"eyJhbGciOiJSUzI1NiJ9.e30.c2ln", "eyJhbGciOi… (29 characters)"},
		"a short one keeps nothing":                      {"secret", "…"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := shorten(test.token); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestDecodeReadsClaims(t *testing.T) {
	payload := base64.RawURLEncoding.EncodeToString([]byte(`{"jti":"a","exp":1700000000,"aud":"nextcloud"}`))
	got, err := decode("header." + payload + ".signature")
	if err != nil {
		t.Fatal(err)
	}
	if got.JTI != "a" || got.expiry().Unix() != 1700000000 || !strings.Contains(got.indented, "\n  \"aud\": \"nextcloud\"") {
		t.Errorf("got %+v", got)
	}
	for _, broken := range []string{"", "opaque", "a.%.c", "a.e30.b.c", "a.bm8.c"} {
		if _, err := decode(broken); err == nil {
			t.Errorf("%q was decoded", broken)
		}
	}
}

func TestRelocateChangesOnlyTheURLs(t *testing.T) {
	const documents = `
apiVersion: tokengrant.dev/v1alpha1
kind: TokenIssuer
metadata: {name: i}
spec: {url: https://id.example.com, serviceAccount: {clientID: c}}
---
apiVersion: tokengrant.dev/v1alpha1
kind: TokenGrant
metadata: {name: checked}
spec: {check: {policy: Warn, nextcloud: {url: https://cloud.example.com}}}
---
apiVersion: tokengrant.dev/v1alpha1
kind: TokenGrant
metadata: {name: password}
spec: {appPassword: {nextcloud: {url: https://cloud.example.com}}}
---
apiVersion: tokengrant.dev/v1alpha1
kind: TokenGrant
metadata: {name: unchecked}
spec: {suspend: true}
`
	raw, err := relocate(documents, "http://kc", "http://nc")
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Kind  string
		Items []struct{ Spec map[string]any }
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		t.Fatal(err)
	}
	var specs []map[string]any
	for _, item := range list.Items {
		specs = append(specs, item.Spec)
	}
	want := []map[string]any{
		{"url": "http://kc", "serviceAccount": map[string]any{"clientID": "c"}},
		{"check": map[string]any{"policy": "Warn", "nextcloud": map[string]any{"url": "http://nc"}}},
		{"appPassword": map[string]any{"nextcloud": map[string]any{"url": "http://nc"}}},
		{"suspend": true},
	}
	if diff := cmp.Diff(want, specs); list.Kind != "List" || diff != "" {
		t.Errorf("%s, specs (-want +got):\n%s", list.Kind, diff)
	}
}
