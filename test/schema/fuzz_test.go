package schema

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/controllers/publish"
	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/keycloak"
	"github.com/tokengrant/tokengrant/nextcloud"
)

// The places in a spec that take text of the user's. KEY is where the text itself is the key.
var (
	grantTexts = []string{
		"spec.delivery.secret.name", "spec.delivery.secret.labels.KEY", "spec.delivery.secret.labels.a", "spec.delivery.secret.annotations.KEY", "spec.delivery.secret.annotations.a",
		"spec.delivery.secret.data.KEY", "spec.delivery.secret.data.a", "spec.check.nextcloud.url", "spec.check.nextcloud.paths.path", "spec.check.interval",
		"spec.check.nextcloud.expect.user", "spec.refresh.before", "spec.scopes.0", "spec.exchange.audiences.0", "spec.exchange.scopes.0",
		"spec.exchange.requestedSubject", "spec.serviceAccount.clientID", "spec.serviceAccount.clientSecret.secretRef.name",
		"spec.serviceAccount.clientSecret.secretRef.key", "spec.issuerRef.name", "spec.issuerRef.kind", "spec.delivery.secret.onExpiry",
	}
	issuerTexts = []string{"spec.url", "spec.endpointHosts.0", "spec.serviceAccount.clientID", "spec.caRef.name"}
)

// with gives a copy of an object with a text in one place.
func with(base map[string]any, place, text string) map[string]any {
	object := runtime.DeepCopyJSON(base)
	names := strings.Split(place, ".")
	at := object
	for i, name := range names[:len(names)-1] {
		var next any = map[string]any{}
		switch last := names[i+1]; {
		case last == "0":
			at[name] = []any{text}
			return object
		case name == "paths":
			at[name] = []any{map[string]any{last: text}}
			return object
		}
		if there, ok := at[name].(map[string]any); ok {
			next = there
		}
		at[name] = next
		at, _ = next.(map[string]any)
	}
	if last := names[len(names)-1]; last == "KEY" {
		at[text] = "x"
	} else {
		at[last] = text
	}
	return object
}

// FuzzGrant: what the rules of the CRD let in, the code and the API server can work with, and neither refuses as malformed.
func FuzzGrant(f *testing.F) {
	s := load(f, "tokengrants")
	base := patched(f, grant, `{}`)
	for i := range grantTexts {
		for _, text := range []string{
			"", "x", "A b", "..", "/Notes", "/a//b", "/a/../b", "a/b", "example.com/a", "1m", "1h30m", "https://cloud.example.com/nextcloud", "https://раypal.example",
			"https://[fe80::1%25eth0]", "https://a:99999", "x\n", "eyJ\x00", "{{range 1000000000}}{{end}}", "{{.AccessToken", "helm.sh/release", strings.Repeat("x", 300),
		} {
			f.Add(uint8(i), text)
		}
	}
	f.Fuzz(func(t *testing.T, place uint8, text string) {
		if !utf8.ValidString(text) {
			return // JSON has no such text.
		}
		where := grantTexts[int(place)%len(grantTexts)]
		object := with(base, where, text)
		if s.judge(t, object) != "" {
			return
		}
		var g v1alpha1.TokenGrant
		if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object, &g, true); err != nil {
			t.Fatalf("%s %q is let in and cannot be read: %v", where, text, err)
		}
		for _, fault := range grantFaults(t, &g) {
			t.Errorf("%s %q is let in: %s", where, text, fault)
		}
	})
}

func grantFaults(t *testing.T, g *v1alpha1.TokenGrant) []string {
	t.Helper()
	secret := g.SecretDelivery()
	var faults []string
	if secret.Name != "" {
		faults = append(faults, apivalidation.NameIsDNSSubdomain(secret.Name, false)...)
	}
	labels, annotations, templates := map[string]string{}, map[string]string{}, map[string]string{}
	for k, v := range secret.Labels {
		labels[k] = string(v)
	}
	for k, v := range secret.Annotations {
		annotations[k] = string(v)
	}
	for k, v := range secret.Data {
		templates[k] = string(v)
		faults = append(faults, validation.IsConfigMapKey(k)...)
	}
	for _, e := range append(metav1validation.ValidateLabels(labels, field.NewPath("labels")), apivalidation.ValidateAnnotations(annotations, field.NewPath("annotations"))...) {
		faults = append(faults, e.Error())
	}
	start := time.Now()
	_ = publish.Validate(templates) // It may refuse a template; it may not run for ever.
	if took := time.Since(start); took > 5*time.Second {
		faults = append(faults, "its templates took "+took.String())
	}
	for _, word := range append(words(g.Spec.Scopes), append(words(g.Spec.Exchange.Scopes), words(g.Spec.Exchange.Audiences)...)...) {
		if word == "" || strings.ContainsFunc(word, func(r rune) bool { return unicode.IsSpace(r) || r > '~' || r < '!' }) {
			faults = append(faults, "not one word: "+word)
		}
	}
	return append(append(faults, scheduleFaults(g)...), nextcloudFaults(t, g)...)
}

func words[S ~string](list []S) []string {
	out := make([]string, 0, len(list))
	for _, w := range list {
		out = append(out, string(w))
	}
	return out
}

func scheduleFaults(g *v1alpha1.TokenGrant) []string {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	issued, expires := now.Add(-time.Minute), now.Add(time.Minute)
	held := &plan.Record{Token: v1alpha1.TokenStatus{IssuedAt: metav1.NewTime(issued), ExpiresAt: metav1.NewTime(expires)}}
	d := plan.Decide(plan.Input{Now: now, Refresh: g.Spec.Refresh, Held: held})
	if !d.RefreshAt.After(issued) || d.RefreshAt.After(expires) {
		return []string{"the refresh of a token of two minutes is at " + d.RefreshAt.Sub(issued).String()}
	}
	return nil
}

var errNoNetwork = errors.New("there is no network here")

type refusing struct{}

func (refusing) RoundTrip(*http.Request) (*http.Response, error) { return nil, errNoNetwork }

func nextcloudFaults(t *testing.T, g *v1alpha1.TokenGrant) []string {
	t.Helper()
	g.Default()
	c := g.Spec.NextcloudCheck()
	faults := urlFaults(string(c.URL))
	client := nextcloud.Client{URL: string(c.URL), HTTP: &http.Client{Transport: refusing{}}}
	for _, p := range c.Paths {
		v := client.CheckPaths(t.Context(), sensitive.New("token"), "alice", []nextcloud.PathCheck{{Path: p.Path, Access: nextcloud.Access(p.Access)}}, nextcloud.Hints{})
		if v.Reason != nextcloud.ReasonUnreachable {
			faults = append(faults, v.Message)
		}
	}
	if g.Spec.Check.Interval.Duration < 10*time.Second || g.Spec.Check.Interval.Duration > 24*time.Hour {
		faults = append(faults, "the interval is "+g.Spec.Check.Interval.Duration.String())
	}
	return faults
}

func urlFaults(text string) []string {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return []string{err.Error()}
	case u.Scheme != "https" && u.Scheme != "http", u.Hostname() == "", u.User != nil, u.RawQuery != "", u.ForceQuery, u.Fragment != "":
		return []string{"no URL of a server: " + u.Redacted()}
	}
	return nil
}

// FuzzIssuer: the same, of issuers; and what endpointHosts lets in is what discovery then takes.
func FuzzIssuer(f *testing.F) {
	s := load(f, "clustertokenissuers")
	base := patched(f, clusterIssuer, `{}`)
	for i := range issuerTexts {
		for _, text := range []string{
			"", "x", "https://id.example.com", "HTTPS://ID.example.com:443/realms/a%2fb", "https://id.example.com/../x", "http://127.0.0.1:8080/realms/x", "https://[::1]:8443/x",
			"https://id.example.com:/x", "https://a\\b", "https://%41.example", "login.example.com", "login.example.com:8443", "a..b", "1.2.3.4", "x\n",
		} {
			f.Add(uint8(i), text)
		}
	}
	f.Fuzz(func(t *testing.T, place uint8, text string) {
		if !utf8.ValidString(text) {
			return // JSON has no such text.
		}
		where := issuerTexts[int(place)%len(issuerTexts)]
		object := with(base, where, text)
		if s.judge(t, object) != "" {
			return
		}
		var i v1alpha1.ClusterTokenIssuer
		if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object, &i, true); err != nil {
			t.Fatalf("%s %q is let in and cannot be read: %v", where, text, err)
		}
		faults := urlFaults(string(i.Spec.URL))
		_, err := keycloak.Discover(t.Context(), &http.Client{Transport: refusing{}}, string(i.Spec.URL))
		if k, ok := errors.AsType[*keycloak.Error](err); !ok || k.Reason != keycloak.ReasonIssuerUnreachable {
			faults = append(faults, err.Error())
		}
		for _, host := range i.Spec.EndpointHosts {
			if _, err := keycloak.Discover(t.Context(), &http.Client{Transport: endpointsOn(host)}, "https://id.example.com", string(host)); err != nil {
				faults = append(faults, err.Error())
			}
		}
		for _, fault := range faults {
			t.Errorf("%s %q is let in: %s", where, text, fault)
		}
	})
}

// endpointsOn answers with the discovery document of https://id.example.com that has its endpoints elsewhere.
type endpointsOn v1alpha1.EndpointHost

func (host endpointsOn) RoundTrip(r *http.Request) (*http.Response, error) {
	at := "https://" + string(host)
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Request: r,
		Body: io.NopCloser(strings.NewReader(`{"issuer":"https://id.example.com","token_endpoint":"` + at + `/t","jwks_uri":"` + at + `/k"}`)),
	}, nil
}
