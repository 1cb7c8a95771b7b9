package controllers

import (
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/internal/issuer"
	"github.com/tokengrant/tokengrant/internal/sensitive"
)

func TestRevokeAgain(t *testing.T) {
	silent := &failure{reason: v1alpha1.ReasonIssuerUnreachable}
	refused := &failure{reason: v1alpha1.ReasonClientRejected}
	missing := &failure{reason: v1alpha1.ReasonCredentialMissing}
	for _, tt := range []struct {
		name   string
		failed []error
		after  time.Duration
		want   time.Duration
	}{
		{"nothing failed", nil, 0, 0},
		{"nobody answered", []error{silent}, 0, 5 * time.Second},
		{"the API server did not", []error{errors.New("no answer")}, 30 * time.Second, 5 * time.Second},
		{"one of two may pass", []error{refused, silent}, time.Second, 5 * time.Second},
		{"it was refused", []error{refused}, 0, 0},
		{"something is missing here", []error{missing}, 0, 0},
		{"the minute is nearly over", []error{silent}, 58 * time.Second, 2 * time.Second},
		{"the minute is over", []error{silent}, time.Minute, 0},
		{"the operator was away for an hour", []error{silent}, time.Hour, 0},
		{"the API server's clock is ahead", []error{silent}, -10 * time.Second, 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := revokeAgain(tt.failed, tt.after); got != tt.want {
				t.Errorf("wait %s, want %s", got, tt.want)
			}
		})
	}
}

// TestFinalizeGivesUp lets an issuer be silent for the whole minute of a deletion.
func TestFinalizeGivesUp(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	grant := &v1alpha1.TokenGrant{ObjectMeta: metav1.ObjectMeta{
		Namespace: "apps", Name: "g", UID: "1", DeletionTimestamp: new(metav1.NewTime(now)), Finalizers: []string{v1alpha1.RevokeFinalizer},
	}}
	grant.Spec.DeletionPolicy = v1alpha1.DeletionRevoke
	grant.Spec.IssuerRef = v1alpha1.IssuerRef{Kind: kindTokenIssuer, Name: "kc"}
	grant.Spec.ServiceAccount = &v1alpha1.ServiceAccount{ClientID: "c", ClientSecret: &v1alpha1.ClientSecret{SecretRef: v1alpha1.SecretKeyRef{Name: "c", Key: "client-secret"}}}
	silent := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "kc", UID: "2"}}
	silent.Spec.URL = "http://127.0.0.1:1/realms/r"
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "c", UID: "3"}, Data: map[string][]byte{"client-secret": []byte("s")}}

	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	cluster := fake.NewClientBuilder().WithScheme(scheme).WithObjects(grant, silent, secret).Build()
	clock, told := clocktesting.NewFakePassiveClock(now), events.NewFakeRecorder(8)
	r := &GrantReconciler{Client: cluster, Live: cluster, Recorder: told, Clock: clock, Issuers: &Issuers{
		Reader: cluster, References: NewReferences(cluster, cluster), Registry: issuer.NewRegistry(), Clock: clock,
	}}
	token := v1alpha1.TokenStatus{ClientID: "c", ExpiresAt: metav1.NewTime(now.Add(time.Hour))}
	// A token that says no more than who issued it: {"iss":"http://127.0.0.1:1/realms/r"}.
	held := sensitive.New("e30.eyJpc3MiOiJodHRwOi8vMTI3LjAuMC4xOjEvcmVhbG1zL3IifQ.x")
	key := client.ObjectKeyFromObject(grant)
	r.memory.of(key, grant.UID).minted = &minted{token: held, record: plan.Record{Token: token}}

	for _, after := range []time.Duration{0, 5 * time.Second, 59 * time.Second} {
		clock.SetTime(now.Add(after))
		result, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: key})
		if err != nil || result.RequeueAfter <= 0 || result.RequeueAfter > revokeRetry {
			t.Fatalf("after %s: %v, %v; want another try soon", after, result, err)
		}
		if err := cluster.Get(t.Context(), key, grant); err != nil {
			t.Fatalf("after %s it is gone: %v", after, err)
		}
	}
	clock.SetTime(now.Add(revokeWithin))
	if result, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: key}); err != nil || result.RequeueAfter != 0 {
		t.Fatalf("after the minute: %v, %v", result, err)
	}
	if err := cluster.Get(t.Context(), key, grant); !apierrors.IsNotFound(err) {
		t.Errorf("after the minute it is still there: %v", err)
	}
	event := <-told.Events
	for _, want := range []string{"Warning NotRevoked", "the access token (it expires at", "connection refused"} {
		if !strings.Contains(event, want) {
			t.Errorf("event %q lacks %q", event, want)
		}
	}
	if strings.Contains(event, held.Reveal()) {
		t.Errorf("event %q has the token", event)
	}
	t.Log(event)
}

func TestLongMessagesFitIntoAnEvent(t *testing.T) {
	told := events.NewFakeRecorder(1)
	r := &GrantReconciler{Recorder: told}
	r.recordEvent(t.Context(), &v1alpha1.TokenGrant{}, corev1.EventTypeWarning, "R", strings.Repeat("ä", maxNote))
	updateAppPasswords := strings.TrimPrefix(<-told.Events, "Warning R ")
	if len(updateAppPasswords) > maxNote || !strings.HasSuffix(updateAppPasswords, "ä…") {
		t.Errorf("%d bytes, ending in %q", len(updateAppPasswords), updateAppPasswords[len(updateAppPasswords)-8:])
	}
}
