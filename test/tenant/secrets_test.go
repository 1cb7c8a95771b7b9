//go:build integration

package tenant

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// secrets are attempts with copies of Secrets that are sealed for others, and with Secrets that are too large.
var secrets = []attempt{
	{"have the sealed session of another tenant decrypted, as a login of their own", func(w *world) (string, string) {
		return w.decrypted("session")
	}},
	{"have the sealed app password of another tenant decrypted, as a login of their own", func(w *world) (string, string) {
		return w.decrypted("password")
	}},
	{"put the sealed session of another tenant in the place of their own", func(w *world) (string, string) {
		w.issuer("own", w.evil.URL)
		g := offline(grantOf(own, "session", "own"))
		w.apply(g)
		sealed := w.sealed("session")
		copied := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
			Namespace: own, Name: g.Name + "-tokengrant-session", Labels: sealed.Labels,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(g, v1alpha1.GroupVersion.WithKind("TokenGrant"))},
		}, Type: sealed.Type, Data: sealed.Data}
		w.apply(copied)
		defer func() { _ = w.admin.Delete(w.t.Context(), copied) }()
		before := len(w.evil.Requests())
		request, sent := w.awaitRequest(w.evil, before, 5*time.Second)
		c := w.condition(g)
		got := c.Reason + ": " + c.Message
		if c.Status == metav1.ConditionTrue || sent {
			return got, fmt.Sprintf("the tenant's server got %v", request.Form)
		}
		return got, ""
	}},
	{"store a client secret of 900 KiB", func(w *world) (string, string) {
		w.issuer("own", w.evil.URL)
		w.bulk("bulk-client", 900<<10)
		return w.withheld(grantOf(own, "bulk", "own", useSecret("bulk-client")), v1alpha1.ReasonCredentialMissing, "at most 4096 are used")
	}},
	{"send a client secret of 60 KiB to the victims' issuer", func(w *world) (string, string) {
		w.issuer("kc", w.good.URL)
		w.bulk("long-client", 60<<10)
		got, harm := w.withheld(grantOf(own, "long", "kc", useSecret("long-client")), v1alpha1.ReasonCredentialMissing, "at most 4096 are used")
		if harm != "" {
			return got, harm
		}
		return w.unharmed()
	}},
	{"fill the operator's memory with Secrets that come and go", func(w *world) (string, string) {
		w.issuer("own", w.evil.URL)
		return w.growth(func() {
			for n := range 60 {
				s := w.bulk("passing", 60<<10)
				g := grantOf(own, fmt.Sprintf("passing-%d", n), "own", useSecret("passing"))
				w.apply(g)
				w.condition(g)
				w.must(w.tenant.Delete(w.t.Context(), g))
				w.must(w.tenant.Delete(w.t.Context(), s))
			}
		})
	}},
	{"fill the operator's memory with Secrets that look like its own", func(w *world) (string, string) {
		return w.growth(func() {
			for n := range 60 {
				s := &corev1.Secret{
					ObjectMeta: metav1.ObjectMeta{Namespace: own, Name: fmt.Sprintf("alike-%d", n), Labels: map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue}},
					Data:       map[string][]byte{"x": bytes.Repeat([]byte("x"), 900<<10)},
				}
				w.apply(s)
				w.t.Cleanup(func() { _ = w.admin.Delete(w.plain(), s) })
			}
			time.Sleep(3 * time.Second) // The watch brings them.
		})
	}},
}

// sealed reads what is sealed for a grant of the victim: from a backup, or as a reader of that namespace.
func (w *world) sealed(grant string) *corev1.Secret {
	w.t.Helper()
	g := grantOf(apps, grant, "")
	if c := w.condition(g); c.Status != metav1.ConditionTrue {
		w.t.Fatalf("the victim's grant: %s: %s", c.Reason, c.Message)
	}
	var s corev1.Secret
	w.must(w.admin.Get(w.t.Context(), client.ObjectKey{Namespace: apps, Name: grant + "-tokengrant-session"}, &s))
	return &s
}

// decrypted stores what is sealed as the login of a grant of the tenant's.
func (w *world) decrypted(grant string) (got, harm string) {
	w.t.Helper()
	w.issuer("own", w.evil.URL)
	login := secretOf(own, "alice", "refresh_token", string(w.sealed(grant).Data["session"]))
	w.apply(login)
	defer func() { _ = w.admin.Delete(w.plain(), login) }()
	before := len(w.evil.Requests())
	g := offline(grantOf(own, "oracle", "own"))
	w.apply(g)
	c := w.condition(g)
	got = c.Reason + ": " + c.Message
	if request, sent := w.awaitRequest(w.evil, before, 2*time.Second); sent {
		return got, fmt.Sprintf("the tenant's server got a refresh_token that begins with %.40q", request.Form.Get("refresh_token"))
	}
	return got, ""
}

// bulk makes a Secret with a client secret of a size.
func (w *world) bulk(name string, size int) *corev1.Secret {
	w.t.Helper()
	s := secretOf(own, name, "client-secret", strings.Repeat("s", size))
	w.apply(s)
	w.t.Cleanup(func() { _ = w.admin.Delete(w.plain(), s) })
	return s
}

// growth says by how much the operator's heap has grown; more than 10 MiB is harm.
func (w *world) growth(do func()) (got, harm string) {
	w.t.Helper()
	const name = "go_memstats_heap_inuse_bytes"
	lowest := func() float64 { // Between two collections it goes up and down.
		least := w.metric(name)
		for range 20 {
			time.Sleep(200 * time.Millisecond)
			least = min(least, w.metric(name))
		}
		return least / (1 << 20)
	}
	before := lowest()
	do()
	grown := lowest() - before
	got = fmt.Sprintf("a heap of %.0f MiB that has grown by %.1f MiB", before, grown)
	if grown > 10 {
		return got, "memory grows by what is the tenant's"
	}
	return got, ""
}
