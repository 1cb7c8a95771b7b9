package controllers

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/issuer"
)

func TestDeletedIssuerIsForgotten(t *testing.T) {
	r := &IssuerReconciler{Issuers: &Issuers{Registry: issuer.NewRegistry()}}
	gone := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "kc", UID: "1"}}
	gone.Spec.URL = "https://id.example.com/realms/cloud"
	if _, err := r.Issuers.connect(t.Context(), r.Issuers.view(gone)); err != nil {
		t.Fatal(err)
	}
	if n := len(r.Issuers.Registry.States()); n != 1 {
		t.Fatalf("%d connections before, want 1", n)
	}
	r.specChanged().Delete(event.DeleteEvent{Object: gone})
	if n := len(r.Issuers.Registry.States()); n != 0 {
		t.Errorf("%d connections after the issuer is gone, want 0", n)
	}
}
