package controllers

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// announce records an event where something turned: the reason of a failure, a recovery, a condition. A refresh that
// goes as it should is no news.
func (r *GrantReconciler) announce(before, after *v1alpha1.TokenGrant) {
	was, is := before.Status, after.Status
	switch {
	case is.ConsecutiveFailures > 0 && (was.ConsecutiveFailures == 0 || was.LastAttempt == nil || was.LastAttempt.Reason != is.LastAttempt.Reason):
		r.Recorder.Eventf(after, nil, corev1.EventTypeWarning, is.LastAttempt.Reason, "Refresh", "%s", is.LastAttempt.Message)
	case is.ConsecutiveFailures == 0 && is.Token != nil && (was.Token == nil || was.ConsecutiveFailures > 0):
		r.Recorder.Eventf(after, nil, corev1.EventTypeNormal, v1alpha1.ReasonPublished, "Refresh", "Secret %q holds a verified token.", is.SecretName)
	}
	for _, kind := range []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionLifetimeSufficient} {
		if c := turned(was.Conditions, is.Conditions, kind); c != nil {
			severity := corev1.EventTypeWarning
			if c.Status == metav1.ConditionTrue {
				severity = corev1.EventTypeNormal
			}
			r.Recorder.Eventf(after, nil, severity, c.Reason, "Check", "%s", c.Message)
		}
	}
}

// turned gives a condition whose status or reason has changed. One that starts out as it should be is no news.
func turned(was, is []metav1.Condition, kind string) *metav1.Condition {
	old, now := meta.FindStatusCondition(was, kind), meta.FindStatusCondition(is, kind)
	if now == nil || old == nil && now.Status == metav1.ConditionTrue || old != nil && old.Status == now.Status && old.Reason == now.Reason {
		return nil
	}
	return now
}
