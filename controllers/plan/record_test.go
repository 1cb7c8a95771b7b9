package plan

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

func TestRecordRoundTrip(t *testing.T) {
	want := Record{
		Token: v1alpha1.TokenStatus{
			Subject: "8f3c", Username: "service-account-notes-sync", ClientID: "notes-sync",
			Audiences: []string{"nextcloud"}, Scopes: []string{"openid", "profile"},
			IssuedAt: metav1.NewTime(noon.Local()), ExpiresAt: metav1.NewTime(noon.Add(5 * time.Minute).Local()),
		},
		Inputs: "token-1", Credential: "credential-1", Shape: "shape-1", Request: "request-1", KeyID: "kid-1",
	}
	annotation, err := want.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseRecord(string(annotation))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&want, got); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
}

func TestRecordsThatAreNotSound(t *testing.T) {
	const times = `"issuedAt":"2026-11-23T12:00:00Z","expiresAt":"2026-11-23T12:05:00Z"`
	if _, err := ParseRecord(`{"token":{` + times + `}}`); err != nil {
		t.Fatalf("the record that the others are made from: %v", err)
	}
	for _, tc := range []struct{ name, annotation string }{
		{"no annotation", ""},
		{"not JSON", "yes"},
		{"cut off", `{"token":{` + times},
		{"a list", `[]`},
		{"null", `null`},
		{"an empty object", `{}`},
		{"no expiry", `{"token":{"issuedAt":"2026-11-23T12:00:00Z"}}`},
		{"no time of issue", `{"token":{"expiresAt":"2026-11-23T12:05:00Z"}}`},
		{"times that are not RFC 3339", `{"token":{"issuedAt":"yesterday","expiresAt":"tomorrow"}}`},
		{"a life of less than a second", `{"token":{"issuedAt":"2026-11-23T12:00:00Z","expiresAt":"2026-11-23T12:00:00.5Z"}}`},
		{"an expiry after the last year", `{"token":{"issuedAt":"2026-11-23T12:00:00Z","expiresAt":"9999-12-31T23:59:59-12:00"}}`},
		{"an expiry at the time of issue", `{"token":{"issuedAt":"2026-11-23T12:00:00Z","expiresAt":"2026-11-23T12:00:00Z"}}`},
		{"an expiry before the time of issue", `{"token":{"issuedAt":"2026-11-23T12:00:00Z","expiresAt":"2026-11-23T11:00:00Z"}}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if r, err := ParseRecord(tc.annotation); err == nil {
				t.Errorf("taken for the record %+v", r)
			}
		})
	}
}

func TestHashInputs(t *testing.T) {
	base := HashInputs("https://id.example.com", "notes-sync", "openid")
	if base != HashInputs("https://id.example.com", "notes-sync", "openid") {
		t.Error("the same inputs have two hashes")
	}
	for _, tc := range []struct {
		name  string
		parts []string
	}{
		{"another part", []string{"https://id.example.com", "notes-sync", "profile"}},
		{"another order", []string{"notes-sync", "https://id.example.com", "openid"}},
		{"a part less", []string{"https://id.example.com", "notes-sync"}},
		{"an empty part more", []string{"https://id.example.com", "notes-sync", "openid", ""}},
		{"another border between two parts", []string{"https://id.example.com", "notes-syncopenid", ""}},
		{"a part that looks like a border", []string{"https://id.example.com;10:notes-sync", "openid"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if HashInputs(tc.parts...) == base {
				t.Error("has the same hash")
			}
		})
	}
}

func TestWords(t *testing.T) {
	if got := Words([]v1alpha1.Scope{"openid", "profile"}); got != "openid profile" {
		t.Errorf("words %q", got)
	}
	if got := Words([]string(nil)); got != "" {
		t.Errorf("no words are %q", got)
	}
}
