package controllers

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// publishEvent records an event and a log line when the reason of a failure or a condition changes, and on recovery. A refresh that
// succeeds records nothing.
func (r *GrantReconciler) publishEvent(ctx context.Context, before, after *v1alpha1.TokenGrant) {
	was, is := before.Status, after.Status
	told := ""
	switch {
	case isFailing(is) && is.LastAttempt.Reason == v1alpha1.ReasonPending:
		// It waits for something that is under way.
	case isFailing(is) && (!isFailing(was) || was.LastAttempt.Reason != is.LastAttempt.Reason):
		told = is.LastAttempt.Reason
		r.recordEvent(ctx, after, corev1.EventTypeWarning, told, is.LastAttempt.Message)
	case !isFailing(is) && is.Token != nil && (was.Token == nil || isFailing(was)):
		r.recordEvent(ctx, after, corev1.EventTypeNormal, v1alpha1.ReasonPublished, messagesOf(after).holds(&is))
	}
	for _, kind := range []string{v1alpha1.ConditionCheckPassed, v1alpha1.ConditionLifetimeSufficient} {
		if c := changed(was.Conditions, is.Conditions, kind); c != nil && c.Reason != told {
			severity := corev1.EventTypeWarning
			if c.Status == metav1.ConditionTrue {
				severity = corev1.EventTypeNormal
			}
			r.recordEvent(ctx, after, severity, c.Reason, c.Message)
		}
	}
}

// maxNote is the longest message of an event that the API server takes.
const maxNote = 1024

func (r *GrantReconciler) recordEvent(ctx context.Context, grant *v1alpha1.TokenGrant, severity, reason, message string) {
	action := "Refresh"
	if !grant.DeletionTimestamp.IsZero() {
		action = "Delete"
	}
	if len(message) > maxNote {
		message = strings.ToValidUTF8(message[:maxNote-len("…")], "") + "…"
	}
	r.Recorder.Eventf(grant, nil, severity, reason, action, "%s", message)
	ctrl.LoggerFrom(ctx).Info("TokenGrant changed", "reason", reason, "message", message)
}

func isFailing(s v1alpha1.TokenGrantStatus) bool {
	return s.ConsecutiveFailures > 0 && s.LastAttempt != nil
}

// changed returns the condition of a type if its status or reason has changed; nil if not, or if it is new and True.
func changed(was, is []metav1.Condition, kind string) *metav1.Condition {
	old, now := meta.FindStatusCondition(was, kind), meta.FindStatusCondition(is, kind)
	if now == nil || old == nil && now.Status == metav1.ConditionTrue || old != nil && old.Status == now.Status && old.Reason == now.Reason {
		return nil
	}
	return now
}
