package controllers

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// nudgeTimeout bounds what a publish waits for its nudge; the token is out already.
const nudgeTimeout = 5 * time.Second

// nudge annotates the running pods that mount the grant's Secret. A kubelet that sees its pod change looks after the
// pod's volumes at once, and not only at its next round. Pods are read when they are needed and never cached. That it
// fails delays the token and no more, so it is told in the status and stops nothing.
func (r *GrantReconciler) nudge(ctx context.Context, g *observation) {
	g.past.unnudged = ""
	if !g.grant.SecretDelivery().NudgePods {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, nudgeTimeout)
	defer cancel()
	if err := r.nudgePods(ctx, g.grant.Namespace, secretName(g.grant)); err != nil {
		g.past.unnudged = apiReason(err)
		ctrl.LoggerFrom(ctx).Error(err, "Pods were not nudged")
	}
}

func (r *GrantReconciler) nudgePods(ctx context.Context, namespace, secret string) error {
	var pods corev1.PodList
	running := client.MatchingFields{"status.phase": string(corev1.PodRunning)}
	if err := r.Live.List(ctx, &pods, client.InNamespace(namespace), running); err != nil {
		return fmt.Errorf("listing pods: %w", err)
	}
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`,
		v1alpha1.PublishedAtAnnotation, r.Clock.Now().UTC().Format(time.RFC3339Nano)))
	for i := range pods.Items {
		if !mounts(&pods.Items[i], secret) {
			continue
		}
		pod := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: pods.Items[i].Name}}
		pod.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Pod"))
		if err := r.Status().Patch(ctx, pod, patch); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("annotating pod %s: %w", pod.Name, err)
		}
	}
	return nil
}

// mounts says whether a pod has a volume of the Secret.
func mounts(pod *corev1.Pod, secret string) bool {
	for _, v := range pod.Spec.Volumes {
		if v.Secret != nil && v.Secret.SecretName == secret {
			return true
		}
		if v.Projected == nil {
			continue
		}
		for _, source := range v.Projected.Sources {
			if source.Secret != nil && source.Secret.Name == secret {
				return true
			}
		}
	}
	return false
}

// apiReason is the API server's word for an error, which holds nothing of the request.
func apiReason(err error) string {
	if reason := apierrors.ReasonForError(err); reason != metav1.StatusReasonUnknown {
		return string(reason)
	}
	return "no answer from the API server"
}
