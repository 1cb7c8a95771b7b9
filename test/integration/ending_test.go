package integration

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/diagnose"
)

// kept is the Secret of a grant's session.
func (w *world) kept(g *v1alpha1.TokenGrant) *corev1.Secret {
	w.t.Helper()
	var s corev1.Secret
	if err := w.Get(w.t.Context(), client.ObjectKey{Namespace: g.Namespace, Name: g.Name + "-tokengrant-session"}, &s); err != nil {
		w.t.Fatal(err)
	}
	return &s
}

// awaitNew asks for a new token, each time for another reason, and waits for the very one that was minted for it.
func (w *world) awaitNew(g *v1alpha1.TokenGrant, why string) {
	w.t.Helper()
	w.requestRefresh(g, why)
	w.awaitSecret(g, "is new: "+why, func(s *corev1.Secret) bool {
		return strings.Contains(s.Annotations[v1alpha1.PublishedAnnotation], fmt.Sprintf(`"request":%q`, why))
	})
}

func (w *world) awaitUser(g *v1alpha1.TokenGrant, user string) {
	w.t.Helper()
	w.awaitSecret(g, "is of "+user, func(s *corev1.Secret) bool { return s != nil && claimsIn(w.t, s)["preferred_username"] == user })
	w.await(g, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonPublished)
}

func (w *world) delete(g *v1alpha1.TokenGrant) {
	w.t.Helper()
	if err := w.Delete(w.t.Context(), g); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) finalized(g *v1alpha1.TokenGrant) bool {
	w.t.Helper()
	if err := w.Get(w.t.Context(), client.ObjectKeyFromObject(g), g); err != nil {
		w.t.Fatal(err)
	}
	return len(g.Finalizers) > 0
}

// gone waits until a grant is, and says how long that took.
func (w *world) gone(g *v1alpha1.TokenGrant) {
	w.t.Helper()
	began := time.Now()
	w.eventually("grant "+g.Name+" goes", func() (bool, string) {
		err := w.Get(w.t.Context(), client.ObjectKeyFromObject(g), g)
		return apierrors.IsNotFound(err), fmt.Sprint(g.Finalizers)
	})
	w.t.Logf("%s went within %s", g.Name, time.Since(began).Round(10*time.Millisecond))
}

// notRevoked waits for the event of a deletion that left something.
func (w *world) notRevoked(g *v1alpha1.TokenGrant, parts ...string) {
	w.t.Helper()
	var note string
	w.eventually("an event "+v1alpha1.ReasonNotRevoked, func() (bool, string) {
		for _, e := range w.events(g) {
			if e.Reason == v1alpha1.ReasonNotRevoked {
				note = e.Note
				return true, ""
			}
		}
		return false, fmt.Sprint(w.events(g))
	})
	contains(w.t, note, parts...)
}

func (w *world) events(g *v1alpha1.TokenGrant) []eventsv1.Event {
	w.t.Helper()
	var all eventsv1.EventList
	if err := w.List(w.t.Context(), &all, inNamespace(w)); err != nil {
		w.t.Fatal(err)
	}
	var of []eventsv1.Event
	for _, e := range all.Items {
		if e.Regarding.Name == g.Name {
			of = append(of, e)
		}
	}
	return of
}

// discreet looks for secrets in all that users and their tools can read of a grant: the object, its events, and the
// Secret of its session.
func (w *world) discreet(g *v1alpha1.TokenGrant, secrets ...[]byte) {
	w.t.Helper()
	w.silent(g, secrets...)
	w.lacks(w.kept(g), secrets...)
}

// silent looks for secrets in a grant and its events.
func (w *world) silent(g *v1alpha1.TokenGrant, secrets ...[]byte) {
	w.t.Helper()
	var object v1alpha1.TokenGrant
	if err := w.Get(w.t.Context(), client.ObjectKeyFromObject(g), &object); err != nil {
		w.t.Fatal(err)
	}
	w.lacks(object, secrets...)
	w.lacks(w.events(g), secrets...)
}

func (w *world) lacks(object any, secrets ...[]byte) {
	w.t.Helper()
	said, err := yaml.Marshal(object)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, secret := range secrets {
		if bytes.Contains(said, secret) {
			w.t.Errorf("a token or secret is told:\n%s", said)
		}
	}
}

// examine lets the doctor look at a grant.
func (w *world) examine(g *v1alpha1.TokenGrant) *diagnose.Report {
	w.t.Helper()
	report, err := diagnose.Doctor{Client: w.Client, OperatorNamespace: w.operatorNamespace, Now: time.Now}.Grant(w.t.Context(), g.Namespace, g.Name)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, s := range report.Steps {
		w.t.Logf("%-12s %-8s %s %q", s.Name, s.Result, s.Message, s.Cure)
	}
	return report
}
