package controllers

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/event"
)

func TestOtherLabelsOfANamespaceAreNoticed(t *testing.T) {
	namespace := func(name string) *corev1.Namespace {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"team": "a"}}}
	}
	c := fake.NewClientBuilder().WithObjects(namespace("apps"), namespace("batch")).Build()
	clock := clocktesting.NewFakeClock(time.Now())
	changed := make(chan event.GenericEvent, 1)
	r := &NamespaceLabels{Live: c, Namespaces: []string{"gone", "apps", "batch"}, Clock: clock, Changed: changed}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	wait := func(what string, holds func() bool) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); !holds(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("not seen: %s", what)
			}
		}
	}
	wait("it waits", clock.HasWaiters)
	clock.Step(namespaceLabelsEvery) // Nothing has changed.

	batch := namespace("batch")
	batch.Labels["team"] = "b"
	if err := c.Update(t.Context(), batch, &client.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	wait("the change", func() bool {
		clock.Step(namespaceLabelsEvery)
		return len(changed) == 1
	})
	if got := (<-changed).Object; got.GetName() != "batch" || got.GetLabels()["team"] != "b" {
		t.Errorf("told of %s with %v, want batch with its new labels", got.GetName(), got.GetLabels())
	}
	for range 3 {
		clock.Step(namespaceLabelsEvery)
	}
	if len(changed) != 0 {
		t.Errorf("told again of %s", (<-changed).Object.GetName())
	}
}
