package integration

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// TestPodsAreNudged shows which pods get the annotation, when, and with which permissions.
func TestPodsAreNudged(t *testing.T) {
	w, s, g := simple(t)
	projected := corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
		{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "g"}}},
	}}}
	mounting := w.pod("mounting", corev1.PodRunning, corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "g"}})
	joining := w.pod("joining", corev1.PodRunning, projected)
	ended := w.pod("ended", corev1.PodSucceeded, projected)
	other := w.pod("other", corev1.PodRunning, corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "other"}})

	// Not asked for: nothing happens.
	before := w.published(g)
	w.renew(g, "1")
	w.awaitSecret(g, "is refreshed", func(s *corev1.Secret) bool { return s.ResourceVersion != before.ResourceVersion })

	// Asked for, and not allowed: the token is published, and the status says what is missing.
	s.SetLifespan(time.Minute)
	change(w, g, func(g *v1alpha1.TokenGrant) {
		g.Spec.Delivery = &v1alpha1.Delivery{Secret: &v1alpha1.SecretDelivery{NudgePods: true}}
	})
	w.renew(g, "2")
	w.eventually("the missing permission in the status", func() (bool, string) {
		m := w.await(g, v1alpha1.ConditionLifetimeSufficient, metav1.ConditionFalse, v1alpha1.ReasonTokenLifetimeTooShort)
		return strings.Contains(m, "pods could not be nudged (Forbidden)"), m
	})
	for _, p := range []*corev1.Pod{mounting, joining, ended, other} {
		if at := w.nudgedAt(p); at != "" {
			t.Errorf("pod %s is annotated (%s), and should not be", p.Name, at)
		}
	}

	// Allowed: at each new token, and the life is enough now.
	w.allowNudging()
	w.renew(g, "3")
	w.await(g, v1alpha1.ConditionLifetimeSufficient, metav1.ConditionTrue, v1alpha1.ReasonTokenLifetimeSufficient)
	first := w.nudgedAt(mounting)
	if first == "" || w.nudgedAt(joining) == "" {
		t.Errorf("annotations: mounting %q, joining %q, want both", first, w.nudgedAt(joining))
	}
	w.renew(g, "4")
	w.eventually("another annotation", func() (bool, string) { return w.nudgedAt(mounting) != first, first })
	for _, p := range []*corev1.Pod{ended, other} {
		if at := w.nudgedAt(p); at != "" {
			t.Errorf("pod %s is annotated (%s), and should not be", p.Name, at)
		}
	}
}

// renew asks for another token.
func (w *world) renew(g *v1alpha1.TokenGrant, request string) {
	w.t.Helper()
	change(w, g, func(g *v1alpha1.TokenGrant) {
		g.Annotations = map[string]string{v1alpha1.RefreshRequestedAnnotation: request}
	})
}

// pod makes a pod as a kubelet would have left it.
func (w *world) pod(name string, phase corev1.PodPhase, volume corev1.VolumeSource) *corev1.Pod {
	w.t.Helper()
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		Spec: corev1.PodSpec{
			AutomountServiceAccountToken: new(bool),
			Containers:                   []corev1.Container{{Name: "c", Image: "none"}},
			Volumes:                      []corev1.Volume{{Name: "v", VolumeSource: volume}},
		},
	}
	w.eventually("the namespace's service account, without which there are no pods", func() (bool, string) {
		err := w.Create(w.t.Context(), p.DeepCopy())
		if err != nil {
			return false, err.Error()
		}
		return true, ""
	})
	p.Status.Phase = phase
	if err := w.Status().Patch(w.t.Context(), p, client.RawPatch("application/merge-patch+json", []byte(`{"status":{"phase":"`+phase+`"}}`))); err != nil {
		w.t.Fatal(err)
	}
	return p
}

func (w *world) nudgedAt(p *corev1.Pod) string {
	w.t.Helper()
	if err := w.Get(w.t.Context(), client.ObjectKeyFromObject(p), p); err != nil {
		w.t.Fatal(err)
	}
	return p.Annotations[v1alpha1.PublishedAtAnnotation]
}

// allowNudging gives the operator what config/nudge-pods does, in this test's namespace.
func (w *world) allowNudging() {
	w.t.Helper()
	raw, err := os.ReadFile("../../config/nudge-pods/role.yaml")
	if err != nil {
		w.t.Fatal(err)
	}
	var shipped rbacv1.ClusterRole
	if err := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(raw), 4096).Decode(&shipped); err != nil {
		w.t.Fatal(err)
	}
	w.create(&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "nudge"}, Rules: shipped.Rules})
	w.create(&rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "nudge"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "nudge"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "tokengrant-manager"}},
	})
}
