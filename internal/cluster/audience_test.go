package cluster_test

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"

	"github.com/tokengrant/tokengrant/internal/cluster"
)

func TestAnAnnotationAllowsTheAudiencesItLists(t *testing.T) {
	const issuer = "https://id.example.com/realms/cloud"
	api := cluster.APIAudiences{"https://api.example.com:6443"}
	refused := func(annotation string) *string { return &annotation }
	for name, test := range map[string]struct {
		annotation, audience string
		// wouldAllow is nil when the request is allowed.
		wouldAllow *string
	}{
		"true allows the issuer's URL":                    {"true", issuer, nil},
		"true allows nothing else":                        {"true", "vault", refused(issuer + ",vault")},
		"a list allows its entries":                       {"vault, " + issuer, issuer, nil},
		"a list allows nothing else":                      {"vault", issuer, refused("vault," + issuer)},
		"true in a list is an audience":                   {"true,vault", issuer, refused("true,vault," + issuer)},
		"a prefix is not enough":                          {issuer, "https://id.example.com", refused(issuer + ",https://id.example.com")},
		"capitals count":                                  {"vault", "Vault", refused("vault,Vault")},
		"no annotation allows nothing":                    {"", issuer, refused("true")},
		"no annotation, another audience":                 {"", "vault", refused("vault")},
		"any other word is an audience":                   {"yes", issuer, refused("yes," + issuer)},
		"no audience is the API server's":                 {",,", "", refused("")},
		"the API server's, though it is listed":           {"https://api.example.com:6443", "https://api.example.com:6443", refused("")},
		"a well-known one, though it is listed":           {"https://kubernetes.default.svc", "https://kubernetes.default.svc", refused("")},
		"two audiences in one, though both are allowed":   {"a,b", "a,b", refused("")},
		"an audience with white space that hides in list": {" vault", " vault", refused("")},
	} {
		t.Run(name, func(t *testing.T) {
			err := api.AllowTokenRequest(test.annotation, issuer, test.audience)
			r, is := errors.AsType[*cluster.RefusedAudience](err)
			switch {
			case is != (test.wouldAllow != nil):
				t.Errorf("got %v", err)
			case is && r.Annotation != *test.wouldAllow:
				t.Errorf("the annotation %q would allow it, want %q", r.Annotation, *test.wouldAllow)
			case is && r.Annotation != "":
				if err := api.AllowTokenRequest(r.Annotation, issuer, test.audience); err != nil {
					t.Errorf("the annotation of the message does not allow it: %v", err)
				}
			}
		})
	}
}

func TestTrueDoesNotAllowAnIssuerAtTheAPIServer(t *testing.T) {
	const url = "https://kubernetes.default.svc"
	if err := (cluster.APIAudiences{}).AllowTokenRequest("true", url, url); err == nil {
		t.Error("allowed")
	}
}

func TestTheAPIServersAudiencesAreLearnt(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	payload := base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"https://issuer.example.com","aud":["one","two"],"sub":"system:serviceaccount:a:b","exp":2000000000}`))
	if err := os.WriteFile(file, []byte("e30."+payload+".c2ln"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		status int
		body   string
		config rest.Config
		want   cluster.APIAudiences
		fails  bool
	}{
		"from the mounted token":          {http.StatusForbidden, "", rest.Config{BearerTokenFile: file}, cluster.APIAudiences{"https://issuer.example.com", "one", "two"}, false},
		"from the discovery document":     {http.StatusOK, `{"issuer":"https://other.example.com"}`, rest.Config{}, cluster.APIAudiences{"https://other.example.com"}, false},
		"from its URL, if nothing else":   {http.StatusNotFound, "", rest.Config{}, nil, false},
		"not while it does not answer":    {http.StatusServiceUnavailable, "", rest.Config{}, nil, true},
		"not from a token that is absent": {http.StatusForbidden, "", rest.Config{BearerTokenFile: file + "-absent"}, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(test.status)
				_, _ = w.Write([]byte(test.body))
			}))
			defer server.Close()
			test.config.Host = server.URL
			got, err := cluster.LearnAPIAudiences(t.Context(), &test.config)
			if test.fails != (err != nil) {
				t.Fatalf("error %v", err)
			}
			if !test.fails {
				if diff := cmp.Diff(append(cluster.APIAudiences{server.URL}, test.want...), got); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}
