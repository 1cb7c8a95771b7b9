//go:build integration

package apiserver

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers"
	"github.com/tokengrant/tokengrant/hack/stack"
	"github.com/tokengrant/tokengrant/internal/offline"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
)

// operate runs an operator of one namespace, which knows v1alpha1 only, until the test ends. It makes an issuer "kc" and
// the Secret of its client "worker" there.
func operate(t *testing.T, ns string) *keycloaktest.Server {
	t.Helper()
	mgr, err := ctrl.NewManager(shared.plane.Config, ctrl.Options{
		Scheme:     stack.Scheme(),
		Cache:      controllers.CacheOptions([]string{ns}, nil),
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	err = controllers.Setup(ctx, mgr, controllers.Options{
		OperatorNamespace: ns, Namespaces: []string{ns}, Concurrency: 2, UserAgent: "apiserver",
		EncryptionKeys: offline.Keyring{File: filepath.Join(t.TempDir(), "keys")},
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("operator: %v", err)
		}
	})
	s := keycloaktest.NewServer(t, keycloaktest.Options{})
	s.SetClient(keycloaktest.Client{ID: "worker", Secret: "worker-secret", Audience: []string{"nextcloud", "calendar", "contacts"}})
	s.Client("calendar", "calendar-secret")
	s.Client("contacts", "contacts-secret")
	for _, object := range []client.Object{
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "worker"}, StringData: map[string]string{"client-secret": "worker-secret"}},
		&v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "kc"}, Spec: v1alpha1.TokenIssuerSpec{URL: v1alpha1.HTTPURL(s.URL)}},
	} {
		if err := shared.admin.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// published waits until the operator has published a token for exactly one audience, and says so of the last generation.
func published(t *testing.T, ns, name, audience string) {
	t.Helper()
	eventually(t, name+" holds a token for "+audience, func() (bool, string) {
		var g v1alpha1.TokenGrant
		if err := shared.admin.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: name}, &g); err != nil {
			t.Fatal(err)
		}
		ready := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionReady)
		ok := ready != nil && ready.Status == metav1.ConditionTrue && ready.ObservedGeneration == g.Generation &&
			g.Status.Token != nil && len(g.Status.Token.Audiences) == 1 && g.Status.Token.Audiences[0] == audience
		return ok, fmt.Sprintf("%+v", g.Status)
	})
}
