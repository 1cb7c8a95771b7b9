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

// announce records an event and a line in the log where something turned: the reason of a failure, a recovery, a
// condition. A refresh that goes as it should is no news.
func (r *GrantReconciler) announce(ctx context.Context, before, after *v1alpha1.TokenGrant) {
	was, is := before.Status, after.Status
	told := ""
	switch {
	case isFailing(is) && is.LastAttempt.Reason == v1alpha1.ReasonPending:
		// It waits for something that is under way.
	case isFailing(is) && (!isFailing(was) || was.LastAttempt.Reason != is.LastAttempt.Reason):
		told = is.LastAttempt.Reason
		r.tell(ctx, after, corev1.EventTypeWarning, told, is.LastAttempt.Message)
	case !isFailing(is) && is.Token != nil && (was.Token == nil || isFailing(was)):
		r.tell(ctx, after, corev1.EventTypeNormal, v1alpha1.ReasonPublished, wordingOf(after).holds(&is))
	}
	for _, kind := range []string{v1alpha1.ConditionCheckPassed, v1alpha1.ConditionLifetimeSufficient} {
		if c := turned(was.Conditions, is.Conditions, kind); c != nil && c.Reason != told {
			severity := corev1.EventTypeWarning
			if c.Status == metav1.ConditionTrue {
				severity = corev1.EventTypeNormal
			}
			r.tell(ctx, after, severity, c.Reason, c.Message)
		}
	}
}

// maxNote is the longest message of an event that the API server takes.
const maxNote = 1024

func (r *GrantReconciler) tell(ctx context.Context, grant *v1alpha1.TokenGrant, severity, reason, message string) {
	action := "Refresh"
	if !grant.DeletionTimestamp.IsZero() {
		action = "Delete"
	}
	if len(message) > maxNote {
		message = strings.ToValidUTF8(message[:maxNote-len("…")], "") + "…"
	}
	r.Recorder.Eventf(grant, nil, severity, reason, action, "%s", message)
	ctrl.LoggerFrom(ctx).Info("TokenGrant turned", "reason", reason, "message", message)
}

func isFailing(s v1alpha1.TokenGrantStatus) bool {
	return s.ConsecutiveFailures > 0 && s.LastAttempt != nil
}

// turned gives a condition whose status or reason has changed. One that starts out as it should be is no news.
func turned(was, is []metav1.Condition, kind string) *metav1.Condition {
	old, now := meta.FindStatusCondition(was, kind), meta.FindStatusCondition(is, kind)
	if now == nil || old == nil && now.Status == metav1.ConditionTrue || old != nil && old.Status == now.Status && old.Reason == now.Reason {
		return nil
	}
	return now
}
