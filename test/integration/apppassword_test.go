package integration

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/nextcloud/nextcloudtest"
)

// logIn is the request that makes an app password, and the only one with the account's password.
const logIn = "GET /ocs/v2.php/core/getapppassword"

// account is one at a Nextcloud: the stand-in's alice or, where NEXTCLOUD_URL is set, the one of NEXTCLOUD_USER and
// NEXTCLOUD_PASSWORD. Of a real one nobody can count the requests: standIn is nil.
type account struct {
	url, user, password string
	standIn             *nextcloudtest.Server
}

func newAccount(t *testing.T) account {
	t.Helper()
	if url := os.Getenv("NEXTCLOUD_URL"); url != "" {
		return account{url: url, user: os.Getenv("NEXTCLOUD_USER"), password: os.Getenv("NEXTCLOUD_PASSWORD")}
	}
	return standInAccount(t)
}

func standInAccount(t *testing.T) account {
	t.Helper()
	a := account{user: "alice", password: "canary-of-alice"}
	a.standIn = nextcloudtest.New(nextcloudtest.Options{Users: []nextcloudtest.User{{ID: a.user, Password: sensitive.New(a.password)}}})
	server := httptest.NewServer(leaks.Serves(a.standIn.Handler()))
	t.Cleanup(server.Close)
	a.url = server.URL
	return a
}

// works says whether Nextcloud takes an app password.
func (a account) works(t *testing.T, password string) bool {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.url+"/ocs/v2.php/cloud/user?format=json", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+password)
	req.Header.Set("OCS-APIRequest", "true")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// logins fails the test unless there were so many logins; nobody counts those of a real Nextcloud.
func (a account) logins(t *testing.T, want int) {
	t.Helper()
	if a.standIn == nil {
		return
	}
	if got := a.standIn.Count(logIn); got != want {
		t.Errorf("%d logins, want %d; app passwords: %q", got, want, a.standIn.AppPasswordNames(a.user))
	}
}

// appPassword sets a world up with the login of an account and the grant "g" for it, which is not created yet.
func appPassword(t *testing.T, a account, change ...func(*v1alpha1.TokenGrant)) (*world, *v1alpha1.TokenGrant) {
	t.Helper()
	t.Parallel()
	w := newWorld(t)
	w.secret("login", map[string]string{"username": a.user, "password": a.password})
	g := &v1alpha1.TokenGrant{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "g"}}
	g.Spec.AppPassword = &v1alpha1.AppPassword{Nextcloud: v1alpha1.NextcloudServer{URL: v1alpha1.HTTPURL(a.url)}, From: v1alpha1.AppPasswordSource{LoginSecretRef: &v1alpha1.SecretRef{Name: "login"}}}
	g.Spec.Check = &v1alpha1.Check{Nextcloud: &v1alpha1.NextcloudCheck{URL: v1alpha1.HTTPURL(a.url)}}
	g.Spec.Check.Nextcloud.Expect.NotInGroups = []v1alpha1.GroupName{"admin"}
	for _, f := range change {
		f(g)
	}
	t.Cleanup(func() { w.removed(g) }) // A real Nextcloud keeps nothing of a test.
	return w, g
}

// removed deletes a grant and waits until it is not there any more.
func (w *world) removed(g *v1alpha1.TokenGrant) {
	w.t.Helper()
	if err := w.Delete(cleanupContext(), g); apierrors.IsNotFound(err) {
		return
	}
	w.eventually("the grant gone", func() (bool, string) {
		err := w.Get(cleanupContext(), client.ObjectKeyFromObject(g), g)
		return apierrors.IsNotFound(err), ""
	})
}

func passwordIn(s *corev1.Secret) string {
	if s == nil {
		return ""
	}
	return string(s.Data["password"])
}

func TestAppPasswordIsMadeRotatedAndDeleted(t *testing.T) {
	a := newAccount(t)
	w, g := appPassword(t, a)
	w.create(g)
	contains(t, w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished), "app password of user")
	w.await(g, v1alpha1.ConditionCheckPassed, metav1.ConditionTrue, v1alpha1.ReasonNextcloudAccepted)
	s := w.published(g)
	first := passwordIn(s)
	if s.Type != corev1.SecretTypeBasicAuth || string(s.Data["username"]) != a.user || !a.works(t, first) {
		t.Errorf("published %s with %d keys", s.Type, len(s.Data))
	}
	if g.Status.Token.Username != a.user || !g.Status.Token.ExpiresAt.IsZero() || g.Status.RefreshAt == nil {
		t.Errorf("status %+v", g.Status)
	}
	w.restart()
	a.logins(t, 1)

	w.requestRefresh(g, "1")
	s = w.awaitSecret(g, "with another app password", func(s *corev1.Secret) bool { return passwordIn(s) != first })
	second := passwordIn(s)
	w.eventually("the end of the first", func() (bool, string) { return !a.works(t, first), "" })
	if !a.works(t, second) {
		t.Error("the second has ended as well")
	}
	a.logins(t, 2)
	w.removed(g)
	if a.works(t, second) {
		t.Error("it outlives its grant")
	}
}

func TestAppPasswordWhoseLoginIsRefused(t *testing.T) {
	a := standInAccount(t)
	w, g := appPassword(t, a)
	login := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "login"}}
	set := func(f func(*corev1.Secret)) { change(w, login, f) }
	set(func(s *corev1.Secret) { s.Data["password"] = []byte("wrong") })
	w.create(g)
	contains(t, w.await(g, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonCredentialRejected), "not tried again")
	w.await(g, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonCredentialRejected)
	set(func(s *corev1.Secret) { s.Labels = map[string]string{"a": "b"} })
	w.requestRefresh(g, "1")
	w.restart()
	time.Sleep(2 * time.Second)
	a.logins(t, 1)
	set(func(s *corev1.Secret) { s.Data["password"] = []byte(a.password) })
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
	a.logins(t, 2)
}

// TestAppPasswordTakesThePlaceOfAToken: the type of a Secret cannot be changed, so another takes its place.
func TestAppPasswordTakesThePlaceOfAToken(t *testing.T) {
	w, _, g := simple(t)
	a := standInAccount(t)
	w.secret("login", map[string]string{"username": a.user, "password": a.password})
	spec := g.Spec
	change(w, g, func(g *v1alpha1.TokenGrant) {
		g.Spec = v1alpha1.TokenGrantSpec{
			AppPassword: &v1alpha1.AppPassword{Nextcloud: v1alpha1.NextcloudServer{URL: v1alpha1.HTTPURL(a.url)}, From: v1alpha1.AppPasswordSource{LoginSecretRef: &v1alpha1.SecretRef{Name: "login"}}},
			Check:       &v1alpha1.Check{Nextcloud: &v1alpha1.NextcloudCheck{URL: v1alpha1.HTTPURL(a.url)}},
		}
	})
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
	if s := w.published(g); s.Type != corev1.SecretTypeBasicAuth || !a.works(t, passwordIn(s)) {
		t.Errorf("published %s %v", s.Type, s.Data)
	}
	change(w, g, func(g *v1alpha1.TokenGrant) { g.Spec = spec })
	w.awaitSecret(g, "with a token again", func(s *corev1.Secret) bool { return s != nil && s.Type == corev1.SecretTypeOpaque })
	w.eventually("the app password to be ended", func() (bool, string) { return len(a.standIn.AppPasswordNames(a.user)) == 0, "" })
	w.requestRefresh(g, "1")
	w.eventually("the finalizer to go", func() (bool, string) {
		_ = w.Get(t.Context(), client.ObjectKeyFromObject(g), g)
		return len(g.Finalizers) == 0, strings.Join(g.Finalizers, " ")
	})
}

func TestAppPasswordSecretIsRepairedWithoutALogin(t *testing.T) {
	a := standInAccount(t)
	w, g := appPassword(t, a)
	w.create(g)
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
	made := passwordIn(w.published(g))
	change(w, w.published(g), func(s *corev1.Secret) { s.Data["password"] = []byte("mine") })
	w.awaitSecret(g, "repaired", func(s *corev1.Secret) bool { return passwordIn(s) == made })
	if err := w.Delete(t.Context(), w.published(g)); err != nil {
		t.Fatal(err)
	}
	w.awaitSecret(g, "restored", func(s *corev1.Secret) bool { return passwordIn(s) == made })
	change(w, g, func(g *v1alpha1.TokenGrant) {
		g.Spec.Delivery = &v1alpha1.Delivery{Secret: &v1alpha1.SecretDelivery{Data: map[string]v1alpha1.DataTemplate{"netrc": "machine x login {{ .Username }} password {{ .Password }}"}}}
	})
	w.awaitSecret(g, "of another type", func(s *corev1.Secret) bool {
		return s != nil && s.Type == corev1.SecretTypeOpaque && strings.HasSuffix(string(s.Data["netrc"]), made)
	})
	a.logins(t, 1)
}

func TestAppPasswordOutlivesANextcloudThatIsDown(t *testing.T) {
	a := standInAccount(t)
	w, g := appPassword(t, a)
	a.standIn.SetMaintenance(true)
	w.create(g)
	contains(t, w.await(g, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonNextcloudMaintenance), "occ maintenance:mode --off")
	a.standIn.SetMaintenance(false)
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
}

func TestAppPasswordNeedsAKeyToKeepIt(t *testing.T) {
	a := standInAccount(t)
	w, g := appPassword(t, a)
	w.stop()
	w.keys = filepath.Join(t.TempDir(), "none")
	w.start()
	w.create(g)
	contains(t, w.await(g, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonEncryptionKeyMissing), "--encryption-keys-file")
	a.logins(t, 0)
}
