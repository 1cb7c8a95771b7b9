package integration

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
	"github.com/tokengrant/tokengrant/nextcloud/nextcloudtest"
)

const cloudUser = "GET /ocs/v2.php/cloud/user"

// checked sets a world up whose grant "g" is checked at a stand-in, before the grant is created.
func checked(t *testing.T, change ...func(*v1alpha1.TokenGrant)) (*world, *keycloaktest.Server, *nextcloudtest.Server, *v1alpha1.TokenGrant) {
	t.Helper()
	t.Parallel()
	w, s := newWorld(t), scripted(t)
	n, url := nextcloudFor(t, s.URL)
	w.issuer("kc", s.URL)
	w.secret("worker", map[string]string{"client-secret": "worker-secret"})
	g := w.grantFor("g", "kc", "worker", append([]func(*v1alpha1.TokenGrant){func(g *v1alpha1.TokenGrant) {
		g.Spec.Check = &v1alpha1.Check{Nextcloud: &v1alpha1.NextcloudCheck{URL: v1alpha1.HTTPURL(url)}}
		g.Spec.Check.Nextcloud.Expect.NotInGroups = []v1alpha1.GroupName{"admin"}
	}}, change...)...)
	return w, s, n, g
}

func (w *world) requestRefresh(g *v1alpha1.TokenGrant, value string) {
	w.t.Helper()
	change(w, g, func(g *v1alpha1.TokenGrant) {
		g.Annotations = map[string]string{v1alpha1.RefreshRequestedAnnotation: value}
	})
}

func TestAcceptedTokenIsPublishedAndAskedAboutOnce(t *testing.T) {
	w, s, n, g := checked(t)
	w.create(g)
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
	contains(t, w.await(g, v1alpha1.ConditionCheckPassed, metav1.ConditionTrue, v1alpha1.ReasonNextcloudAccepted), "service-account-worker")
	if g.Status.Check.User != "service-account-worker" || g.Status.Check.CheckedAt == nil {
		t.Errorf("status.check = %+v", g.Status.Check)
	}
	w.requestRefresh(g, "1")
	w.eventually("a refresh", func() (bool, string) { return exchanges(s) == 2, "" })
	w.restart()
	settled(t, s, 2)
	if n := n.Count(cloudUser); n != 1 {
		t.Errorf("Nextcloud was asked %d times about an unchanged identity, want 1", n)
	}
}

func TestRejectedTokenIsNotPublished(t *testing.T) {
	w, s, n, g := checked(t)
	n.SetCheckBearer(false)
	w.create(g)
	contains(t, w.await(g, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonNextcloudRejected), "occ user_oidc:provider")
	w.await(g, v1alpha1.ConditionCheckPassed, metav1.ConditionFalse, v1alpha1.ReasonNextcloudRejected)
	if w.published(g) != nil {
		t.Error("a rejected token was published")
	}
	settled(t, s, 1)
	n.SetCheckBearer(true)
	w.requestRefresh(g, "1")
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
}

func TestRejectedRefreshLeavesTheLastGoodToken(t *testing.T) {
	w, s, n, g := checked(t)
	w.create(g)
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
	before := string(w.published(g).Data["access_token"])
	// Keycloak signs with a new key, which Nextcloud does not look for: the trap of every key rotation.
	if _, err := s.RotateKey(); err != nil {
		t.Fatal(err)
	}
	w.requestRefresh(g, "1")
	w.eventually("the rejection in lastAttempt", func() (bool, string) {
		_ = w.Get(t.Context(), client.ObjectKeyFromObject(g), g)
		return g.Status.LastAttempt.Reason == v1alpha1.ReasonNextcloudRejected, g.Status.LastAttempt.Reason
	})
	contains(t, g.Status.LastAttempt.Message, "key")
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
	if now := string(w.published(g).Data["access_token"]); now != before {
		t.Error("the last good token was replaced")
	}
	// Nextcloud reads the keys anew: the token that was kept out is asked about again, and no other is minted for that.
	n.FlushJWKS()
	w.eventually("the token that was kept out", func() (bool, string) { return string(w.published(g).Data["access_token"]) != before, "" })
	settled(t, s, 2)
}

func TestUnreachableNextcloudDoesNotBlock(t *testing.T) {
	for name, tt := range map[string]struct {
		settings func(*nextcloudtest.Settings)
		reason   string
	}{
		"maintenance":   {func(s *nextcloudtest.Settings) { s.Maintenance = true }, v1alpha1.ReasonNextcloudMaintenance},
		"PHP down":      {func(s *nextcloudtest.Settings) { s.Down = nextcloudtest.DownPHP }, v1alpha1.ReasonNextcloudUnreachable},
		"database down": {func(s *nextcloudtest.Settings) { s.Down = nextcloudtest.DownDatabase }, v1alpha1.ReasonNextcloudUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			w, _, n, g := checked(t)
			n.Configure(tt.settings)
			w.create(g)
			w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
			contains(t, w.await(g, v1alpha1.ConditionCheckPassed, metav1.ConditionUnknown, tt.reason))
			n.Configure(func(s *nextcloudtest.Settings) { s.Maintenance, s.Down = false, nextcloudtest.DownNone })
			w.await(g, v1alpha1.ConditionCheckPassed, metav1.ConditionTrue, v1alpha1.ReasonNextcloudAccepted)
		})
	}
}

func TestExpectationsAboutTheUser(t *testing.T) {
	const user = "service-account-worker"
	for name, tt := range map[string]struct {
		expect v1alpha1.NextcloudExpect
		groups []string
		reason string
		want   string
	}{
		"another user":        {v1alpha1.NextcloudExpect{User: "alice"}, nil, v1alpha1.ReasonNextcloudWrongUser, `"alice"`},
		"a group is missing":  {v1alpha1.NextcloudExpect{Groups: []v1alpha1.GroupName{"robots"}}, nil, v1alpha1.ReasonNextcloudForbidden, `"robots"`},
		"an administrator":    {v1alpha1.NextcloudExpect{NotInGroups: []v1alpha1.GroupName{"admin"}}, []string{"admin"}, v1alpha1.ReasonNextcloudForbidden, `"admin"`},
		"as it should be":     {v1alpha1.NextcloudExpect{User: user, Groups: []v1alpha1.GroupName{"robots"}}, []string{"robots"}, "", ""},
		"an admin on purpose": {v1alpha1.NextcloudExpect{NotInGroups: []v1alpha1.GroupName{}}, []string{"admin"}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w, _, n, g := checked(t, func(g *v1alpha1.TokenGrant) { g.Spec.Check.Nextcloud.Expect = tt.expect })
			n.PutUser(nextcloudtest.User{ID: user, Backend: "user_oidc", Groups: tt.groups})
			w.create(g)
			if tt.reason == "" {
				w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
				return
			}
			contains(t, w.await(g, v1alpha1.ConditionReady, metav1.ConditionFalse, tt.reason), tt.want)
			if w.published(g) != nil {
				t.Error("published all the same")
			}
		})
	}
}

func TestPolicyWarnPublishesAndSaysSo(t *testing.T) {
	w, _, n, g := checked(t, func(g *v1alpha1.TokenGrant) { g.Spec.Check.Policy = v1alpha1.PolicyWarn })
	n.SetCheckBearer(false)
	w.create(g)
	w.await(g, v1alpha1.ConditionCheckPassed, metav1.ConditionFalse, v1alpha1.ReasonNextcloudRejected)
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonNextcloudRejected)
	if w.published(g) == nil {
		t.Error("policy Warn must publish")
	}
}

func TestPathsThatTheUserMustHaveAccessTo(t *testing.T) {
	const user = "service-account-worker"
	for name, tt := range map[string]struct {
		path   v1alpha1.NextcloudPath
		want   string // in the message of the refusal; empty: accepted
		folder string // permissions of /Notes
	}{
		"a folder to read":                {v1alpha1.NextcloudPath{Path: "/Notes", Access: v1alpha1.PathRead}, "", "GR"},
		"a folder to write":               {v1alpha1.NextcloudPath{Path: "/Notes", Access: v1alpha1.PathWrite}, "", ""},
		"a folder that cannot be written": {v1alpha1.NextcloudPath{Path: "/Notes", Access: v1alpha1.PathWrite}, "Notes", "GR"},
		"a folder that is not there":      {v1alpha1.NextcloudPath{Path: "/Photos", Access: v1alpha1.PathRead}, "Photos", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w, _, n, g := checked(t, func(g *v1alpha1.TokenGrant) { g.Spec.Check.Nextcloud.Paths = []v1alpha1.NextcloudPath{tt.path} })
			n.PutUser(nextcloudtest.User{ID: user, Backend: "user_oidc"})
			if err := n.AddFolder(user, "Notes", tt.folder); err != nil {
				t.Fatal(err)
			}
			w.create(g)
			if tt.want == "" {
				w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
				w.await(g, v1alpha1.ConditionCheckPassed, metav1.ConditionTrue, v1alpha1.ReasonNextcloudAccepted)
				return
			}
			contains(t, w.await(g, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonNextcloudForbidden), tt.want)
			if w.published(g) != nil {
				t.Error("published all the same")
			}
		})
	}
}
