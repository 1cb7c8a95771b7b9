//go:build integration

package tenant

import (
	"fmt"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/hack/stack"
)

// permissions are what RBAC and the rules of the CRDs stop before the operator sees it.
var permissions = []attempt{
	{"read a Secret of another namespace", func(w *world) (string, string) {
		return refused(w.tenant.Get(w.t.Context(), client.ObjectKey{Namespace: apps, Name: "worker"}, &corev1.Secret{}))
	}},
	{"read the operator's encryption keys", func(w *world) (string, string) {
		return refused(w.tenant.List(w.t.Context(), &corev1.SecretList{}, client.InNamespace(stack.OperatorNamespace)))
	}},
	{"write a grant into another namespace", func(w *world) (string, string) {
		return refused(w.tenant.Create(w.t.Context(), grantOf(apps, "planted", "kc")))
	}},
	{"make a ClusterTokenIssuer", func(w *world) (string, string) {
		i := &v1alpha1.ClusterTokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "planted"}}
		i.Spec.URL = v1alpha1.HTTPURL(w.evil.URL)
		return refused(w.tenant.Create(w.t.Context(), i))
	}},
	{"open the shared ClusterTokenIssuer for themselves", func(w *world) (string, string) {
		i := &v1alpha1.ClusterTokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "shared"}}
		return refused(w.tenant.Patch(w.t.Context(), i, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"allow":[{"namespaces":["mallory"],"audiences":["*"]}]}}`))))
	}},
	{"write the status of a grant of their own", func(w *world) (string, string) {
		g := grantOf(own, "lies", "own")
		w.apply(g)
		return refused(w.tenant.Status().Patch(w.t.Context(), g, client.RawPatch("application/merge-patch+json", []byte(`{"status":{"secretName":"database"}}`))))
	}},
	{"read the operator's metrics, status page and profiles", func(w *world) (got, harm string) {
		for _, path := range []string{"/metrics", "/status", "/debug/pprof/heap"} {
			status, _ := w.endpoint(path, w.tenantToken)
			got += fmt.Sprintf("%s %d ", path, status)
			if status < http.StatusBadRequest {
				harm = path + " was shown"
			}
		}
		return got, harm
	}},
	{"name a namespace in a reference", func(w *world) (string, string) {
		g := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
			"issuerRef":      map[string]any{"name": "kc", "namespace": apps},
			"serviceAccount": map[string]any{"clientID": "worker", "clientSecret": map[string]any{"secretRef": map[string]any{"name": "worker", "namespace": apps}}},
		}}}
		g.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("TokenGrant"))
		g.SetNamespace(own)
		g.SetName("elsewhere")
		return refused(w.tenant.Create(w.t.Context(), g, client.FieldValidation(metav1.FieldValidationStrict)))
	}},
	{"have the Secret labelled as another program's", func(w *world) (string, string) {
		return refused(w.tenant.Create(w.t.Context(), grantOf(own, "labels", "own", func(g *v1alpha1.TokenGrant) {
			g.Spec.Delivery = &v1alpha1.Delivery{Secret: &v1alpha1.SecretDelivery{Labels: map[string]v1alpha1.LabelValue{"app.kubernetes.io/managed-by": "Helm"}}}
		})))
	}},
	{"write templates that loop for ever", func(w *world) (string, string) {
		w.issuer("own", w.evil.URL)
		return w.withheld(grantOf(own, "loops", "own", func(g *v1alpha1.TokenGrant) {
			g.Spec.Delivery = &v1alpha1.Delivery{Secret: &v1alpha1.SecretDelivery{Data: map[string]v1alpha1.DataTemplate{"x": `{{define "a"}}{{template "a"}}{{end}}{{template "a"}}`}}}
		}), v1alpha1.ReasonInvalidSpec, "spec.delivery.secret.data")
	}},
}
