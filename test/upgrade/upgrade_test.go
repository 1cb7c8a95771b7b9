//go:build integration

package upgrade

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/offline"
)

// TestWhatAnOlderVersionWroteIsServed starts this version on objects that were recorded long ago.
func TestWhatAnOlderVersionWroteIsServed(t *testing.T) {
	c := newCluster(t)
	if *record {
		program := olderManager(t)
		if program == "" {
			t.Fatalf("the repository's history lacks %s: git fetch --unshallow", olderCommit)
		}
		c.describe()
		c.start(program)
		c.allReady()
		c.stop()
		c.save()
		return
	}
	c.load(older)
	c.isServed()
}

// TestAnOldSessionIsSealedAnew: it is opened, and its newest token shown to the issuer, who does not know it: it is another one.
func TestAnOldSessionIsSealedAnew(t *testing.T) {
	c := newCluster(t)
	c.load(underived)
	c.isServed()
	old := c.keptSession()
	state := c.openSession(old)
	before := c.versions()["Secret/session"]
	c.requestRefresh("session", "now")
	c.eventually("a refresh of the session", func() bool { return c.presented() != "" })
	if c.presented() != state.RefreshToken.Reveal() {
		t.Error("another refresh token than the recorded one was shown to the issuer")
	}
	if diff := cmp.Diff(before, c.versions()["Secret/session"]); diff != "" {
		t.Errorf("the Secret of the session's token, which is good for years, was written:\n%s", diff)
	}
	if sealed := c.keptSession(); !offline.Outdated(old) || offline.Outdated(sealed) || !c.openSession(sealed).RefreshToken.Equal(state.RefreshToken) {
		t.Error("the session was not sealed anew before it was used")
	}
}

// TestAnUnboundSessionIsRefused: it names no grant, so any grant's Secret could hold a copy of it.
func TestAnUnboundSessionIsRefused(t *testing.T) {
	c := newCluster(t)
	c.load(unbound)
	c.isServed()
	c.requestRefresh("session", "now")
	c.lastAttempt("session", v1alpha1.ReasonSecretConflict, "an older operator sealed it for none")
	if c.presented() != "" {
		t.Error("what is in it was sent")
	}
	c.deleteSession()
	c.eventually("a refresh of the login", func() bool { return c.presented() != "" })
}

// isServed starts this version on what was loaded. Nothing but the token that has expired is minted or written.
func (c *cluster) isServed() {
	c.t.Helper()
	mark, before := c.mark(), c.statuses()
	maps.DeleteFunc(mark.versions, func(object, _ string) bool { return strings.HasPrefix(object, "TokenGrant/") })
	c.start("")
	c.onlyBriefIsRefreshed(mark)
	c.allReady()
	if diff := cmp.Diff(before, c.statuses()); diff != "" {
		c.t.Errorf("statuses (-before +after):\n%s", diff)
	}
}

// TestVersionsGoBackAndForth lets versions take over from each other while grants live.
func TestVersionsGoBackAndForth(t *testing.T) {
	program := olderManager(t)
	if program == "" {
		t.Skipf("the older version %s cannot be built: this clone's history lacks commit %s; `git fetch --unshallow` brings it", older, olderCommit)
	}
	c := newCluster(t)
	c.describe()
	c.start(program)
	c.allReady()
	for i, next := range []struct{ name, program string }{{"this version", ""}, {older, program}, {"this version again", ""}} {
		t.Run(next.name, func(t *testing.T) {
			c := c.in(t)
			c.stop()
			mark := c.mark()
			c.start(next.program)
			c.onlyBriefIsRefreshed(mark)
			c.renew(fmt.Sprintf("request-%d", i), lasting...) // The next one finds what this one wrote.
			c.allReady()
		})
	}
}

// TestCRDChangesUnderLivingGrants adds a field to the CRD, uses it, and takes it away again, as an upgrade and a rollback do.
func TestCRDChangesUnderLivingGrants(t *testing.T) {
	c := newCluster(t)
	c.describe()
	c.start("")
	c.allReady()
	for _, step := range []struct {
		name   string
		change func(spec *apiextensionsv1.JSONSchemaProps)
		patch  string
	}{
		{"a field comes", func(s *apiextensionsv1.JSONSchemaProps) {
			s.Properties["novelty"] = apiextensionsv1.JSONSchemaProps{Type: "string"}
		}, `{"spec":{"novelty":"x"}}`},
		{"a field goes", func(s *apiextensionsv1.JSONSchemaProps) { delete(s.Properties, "novelty") }, `{"metadata":{"labels":{"a":"b"}}}`},
	} {
		t.Run(step.name, func(t *testing.T) {
			c := c.in(t)
			c.changeCRD(step.change)
			if err := c.Patch(t.Context(), novel(), client.RawPatch("application/merge-patch+json", []byte(step.patch))); err != nil {
				t.Fatal(err)
			}
			mark := c.mark()
			delete(mark.versions, "TokenGrant/templated") // Its status follows its generation.
			c.onlyBriefIsRefreshed(mark)
			c.allReady()
		})
	}
}

// mark is a moment before something that must change nothing.
type mark struct {
	versions map[string]string
	requests int
	brief    string
}

func (c *cluster) mark() mark {
	c.t.Helper()
	return mark{c.versions("brief"), len(c.issuer.Requests()), c.tokenOfBrief()}
}

// onlyBriefIsRefreshed waits until the one grant that is due has a new token, and for a moment more, and fails the test if
// another token was minted, or another object written.
func (c *cluster) onlyBriefIsRefreshed(m mark) {
	c.t.Helper()
	c.eventually("the refresh that is due", func() bool { return c.tokenOfBrief() != m.brief })
	time.Sleep(2 * time.Second)
	after := c.versions("brief")
	for object := range after {
		if _, marked := m.versions[object]; !marked {
			delete(after, object)
		}
	}
	if diff := cmp.Diff(m.versions, after); diff != "" {
		c.t.Errorf("objects were written (-before +after):\n%s", diff)
	}
	want := []string{"brief: client_credentials", "brief: urn:ietf:params:oauth:grant-type:token-exchange"}
	if diff := cmp.Diff(want, c.asked(m.requests)); diff != "" {
		c.t.Errorf("the issuer was asked for (-want +got):\n%s", diff)
	}
}

// statuses of the lasting grants, but refreshAt: its jitter depends on the UID, and the loaded grants have others.
func (c *cluster) statuses() map[string]v1alpha1.TokenGrantStatus {
	c.t.Helper()
	found := map[string]v1alpha1.TokenGrantStatus{}
	for name, g := range c.grants() {
		if slices.Contains(lasting, name) {
			g.Status.RefreshAt = nil
			found[name] = g.Status
		}
	}
	return found
}

func (c *cluster) tokenOfBrief() string {
	c.t.Helper()
	var s corev1.Secret
	if err := c.Get(c.t.Context(), client.ObjectKey{Namespace: namespace, Name: "brief"}, &s); err != nil {
		c.t.Fatal(err)
	}
	return string(s.Data["access_token"])
}

// in is the same cluster in a subtest.
func (c *cluster) in(t *testing.T) *cluster {
	t.Helper()
	inner := *c
	inner.t = t
	t.Cleanup(func() { c.operator = inner.operator })
	return &inner
}

// changeCRD changes the schema of spec, and waits until the API server has it.
func (c *cluster) changeCRD(change func(*apiextensionsv1.JSONSchemaProps)) {
	c.t.Helper()
	known := false
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		var crd apiextensionsv1.CustomResourceDefinition
		if err := c.Get(c.t.Context(), client.ObjectKey{Name: "tokengrants.tokengrant.dev"}, &crd); err != nil {
			return err
		}
		root := crd.Spec.Versions[0].Schema.OpenAPIV3Schema
		spec := root.Properties["spec"]
		change(&spec)
		_, known = spec.Properties["novelty"]
		root.Properties["spec"] = spec
		return c.Update(c.t.Context(), &crd)
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.eventually("the changed schema", func() bool {
		err := c.Patch(c.t.Context(), novel(), client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"novelty":"x"}}`)),
			client.DryRunAll, client.FieldValidation("Strict"))
		return (err == nil) == known
	})
}

func novel() *v1alpha1.TokenGrant {
	return &v1alpha1.TokenGrant{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "templated"}}
}
