package schema

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

func TestSchemeKnowsEveryKind(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{
		"TokenGrant", "TokenGrantList", "TokenIssuer", "TokenIssuerList", "ClusterTokenIssuer", "ClusterTokenIssuerList",
		"ListOptions", "WatchEvent",
	} {
		if !scheme.Recognizes(v1alpha1.GroupVersion.WithKind(kind)) {
			t.Errorf("%s is not registered", kind)
		}
	}
}

func TestCopiesShareNothing(t *testing.T) {
	original := &v1alpha1.TokenGrant{
		Spec:   v1alpha1.TokenGrantSpec{Exchange: &v1alpha1.Exchange{Audiences: []v1alpha1.Audience{"nextcloud"}}},
		Status: v1alpha1.TokenGrantStatus{Conditions: []metav1.Condition{{Type: v1alpha1.ConditionReady}}},
	}
	changed := original.DeepCopy()
	changed.Spec.Exchange.Audiences[0] = "other"
	changed.Status.Conditions[0].Type = v1alpha1.ConditionStalled
	if original.Spec.Exchange.Audiences[0] != "nextcloud" || original.Status.Conditions[0].Type != v1alpha1.ConditionReady {
		t.Error("a change of the copy changed the original: run make generate")
	}
}
