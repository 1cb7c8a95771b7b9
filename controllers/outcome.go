package controllers

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/nextcloud"
)

// outcome is all that one reconcile found out and did. It becomes the status without asking anybody.
type outcome struct {
	now   time.Time
	grant *v1alpha1.TokenGrant
	// record is of the Secret as it is now; nil when it holds no token of ours.
	record *plan.Record
	// usable is the answer of the plan about that record, refreshAt its time.
	usable         bool
	unusableReason v1alpha1.Reason
	refreshAt      time.Time
	// minted says that a token was minted and published now; waiting, that one is due and waits for a backoff to end.
	minted, waiting bool
	// unnudged says why pods were not nudged, where the grant asks for it.
	unnudged string
	// failed is what went wrong now; nil when nothing did. count is how many times in a row.
	failed *failure
	count  int32
	// verdict is what Nextcloud said now about the token in the Secret, or about the first one, that it kept out;
	// nil when it was not asked.
	verdict *nextcloud.Verdict
	// queued says that the grant waits for a slot, deferred what it could not do without one.
	queued   bool
	deferred string
}

// maxGroups is how many groups a status shows. All of them count.
const maxGroups = 128

// apply writes the status. It touches no field of which it has learnt nothing.
func (o outcome) apply(s *v1alpha1.TokenGrantStatus) {
	s.ObservedGeneration = o.grant.Generation
	o.applyAttempt(s)
	o.applyToken(s)
	o.applyCheck(s)
	o.applyReady(s)
	// What another version has written, and this one would never change again.
	s.Conditions = slices.DeleteFunc(s.Conditions, func(c metav1.Condition) bool { return !slices.Contains(v1alpha1.GrantConditions, c.Type) })
}

func (o outcome) applyAttempt(s *v1alpha1.TokenGrantStatus) {
	switch {
	case o.failed != nil:
		last := s.LastAttempt
		if same := s.ConsecutiveFailures > 0 && last != nil && last.Reason == o.failed.reason; same &&
			(o.failed.notAsked || o.failed.stalled() && last.Message == o.failed.message) {
			return // Nothing was tried, and nothing has changed.
		}
		s.ConsecutiveFailures = o.count
		s.LastAttempt = &v1alpha1.Attempt{Time: seconds(o.now), Reason: o.failed.reason, Message: o.failed.message}
	case o.minted:
		s.ConsecutiveFailures = 0
		s.LastAttempt = &v1alpha1.Attempt{Time: seconds(o.now), Reason: v1alpha1.ReasonPublished, Message: o.messages().done}
	case !o.waiting:
		// Nothing is due any more: what was missing is there again, or what failed is no longer asked for.
		s.ConsecutiveFailures = 0
	}
}

func (o outcome) applyToken(s *v1alpha1.TokenGrantStatus) {
	s.SecretName, s.Token, s.RefreshAt = "", nil, nil
	if o.record == nil {
		meta.RemoveStatusCondition(&s.Conditions, v1alpha1.ConditionLifetimeSufficient)
		return
	}
	token := o.record.Token
	s.SecretName, s.Token = secretName(o.grant), &token
	if !o.grant.Spec.Suspend {
		at := seconds(o.refreshAt)
		s.RefreshAt = &at
	}
	if token.ExpiresAt.IsZero() {
		meta.RemoveStatusCondition(&s.Conditions, v1alpha1.ConditionLifetimeSufficient)
		return
	}
	life := token.ExpiresAt.Sub(token.IssuedAt.Time)
	margin := plan.Margin(life, o.grant.Spec.Refresh)
	within, instead := o.propagation()
	if plan.SufficientLife(life, o.grant.Spec.Refresh, within) {
		o.set(s, v1alpha1.ConditionLifetimeSufficient, metav1.ConditionTrue, v1alpha1.ReasonTokenLifetimeSufficient,
			fmt.Sprintf("Tokens live %s and are replaced %s before they expire.", life, margin))
		return
	}
	o.set(s, v1alpha1.ConditionLifetimeSufficient, metav1.ConditionFalse, v1alpha1.ReasonTokenLifetimeTooShort,
		fmt.Sprintf("Tokens live %s and are replaced %s before they expire, but the kubelet takes up to %s to bring a changed Secret to a volume%s: raise access.token.lifespan of client %q to 5m or more, %sor read the Secret through the API.",
			life, margin.Round(time.Second), within, o.whyUnnudged(), token.ClientID, instead))
}

// propagation is how long a token takes to reach a volume at most, and how it would take less.
func (o outcome) propagation() (within time.Duration, instead string) {
	nudges := o.grant.SecretDelivery().NudgePods
	switch {
	case !nudges:
		instead = "set spec.delivery.secret.nudgePods, "
	case o.unnudged != "":
		instead = "let the operator nudge pods (rbac.nudgePods=true in the chart, or kubectl apply -k config/nudge-pods), "
	}
	return plan.PropagationOf(nudges && o.unnudged == ""), instead
}

func (o outcome) whyUnnudged() string {
	if o.unnudged == "" {
		return ""
	}
	return fmt.Sprintf(", because pods could not be nudged (%s)", o.unnudged)
}

func (o outcome) applyCheck(s *v1alpha1.TokenGrantStatus) {
	v := o.verdict
	switch {
	case o.grant.Spec.Check == nil, v == nil && o.record == nil && meta.IsStatusConditionTrue(s.Conditions, v1alpha1.ConditionCheckPassed):
		meta.RemoveStatusCondition(&s.Conditions, v1alpha1.ConditionCheckPassed)
		s.Check = nil
		return
	case v == nil:
		return
	}
	if v.Outcome != nextcloud.Unknown {
		at := seconds(o.now)
		if s.Check == nil {
			s.Check = &v1alpha1.CheckStatus{}
		}
		s.Check.CheckedAt = &at
		if i := v.Identity; i != nil {
			s.Check.User, s.Check.Groups, s.Check.Version = i.User, i.Groups[:min(len(i.Groups), maxGroups)], i.Version
		}
	}
	message := v.Message
	if v.Outcome == nextcloud.Accepted {
		message = fmt.Sprintf("Nextcloud knows the %s as user %q.", o.messages().thing, s.Check.User)
	}
	o.set(s, v1alpha1.ConditionCheckPassed, checkStatus(v.Outcome), checkReason(v), message)
}

// applyReady derives Ready, and with it the two conditions of kstatus.
func (o outcome) applyReady(s *v1alpha1.TokenGrantStatus) {
	status, reason, message := o.ready(s)
	o.set(s, v1alpha1.ConditionReady, status, reason, message)
	kind := ""
	switch {
	case status == metav1.ConditionTrue:
	case o.grant.Spec.Suspend || o.needsSomebody(s, reason):
		kind = v1alpha1.ConditionStalled // A suspended grant waits for the end of spec.suspend.
	default:
		kind = v1alpha1.ConditionReconciling
	}
	setProgress(&s.Conditions, o.now, o.grant.Generation, kind, reason, message)
}

// needsSomebody tells what only a person can mend from what time will.
func (o outcome) needsSomebody(s *v1alpha1.TokenGrantStatus, reason v1alpha1.Reason) bool {
	if s.LastAttempt != nil && s.ConsecutiveFailures > 0 {
		reason = s.LastAttempt.Reason
	}
	return reason != v1alpha1.ReasonPending && reason != v1alpha1.ReasonTokenExpired && plan.HandlingOf(reason) != plan.Retry
}

func (o outcome) ready(s *v1alpha1.TokenGrantStatus) (metav1.ConditionStatus, v1alpha1.Reason, string) {
	failing, w := "", o.messages()
	if a := s.LastAttempt; a != nil && s.ConsecutiveFailures > 0 {
		failing = a.Message
	}
	accepted := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionCheckPassed)
	rejected := accepted != nil && accepted.Status == metav1.ConditionFalse
	switch {
	case o.usable && rejected:
		return metav1.ConditionFalse, accepted.Reason, accepted.Message
	case o.usable && o.grant.Spec.Suspend:
		return metav1.ConditionTrue, v1alpha1.ReasonSuspended, fmt.Sprintf("The %s is valid and is not %s, because spec.suspend is true.", w.thing, w.renewed)
	case o.usable && failing != "":
		return metav1.ConditionTrue, v1alpha1.ReasonPublished, fmt.Sprintf("The %s is valid; its %s fails: %s: %s", w.thing, w.renewal, s.LastAttempt.Reason, failing)
	case o.usable:
		return metav1.ConditionTrue, v1alpha1.ReasonPublished, w.holds(s)
	case o.grant.Spec.Suspend:
		return metav1.ConditionFalse, v1alpha1.ReasonSuspended, fmt.Sprintf("There is no valid %s, and none is %s, because spec.suspend is true.", w.thing, w.made)
	case o.unusableReason == v1alpha1.ReasonTokenExpired && failing != "":
		return metav1.ConditionFalse, v1alpha1.ReasonTokenExpired, fmt.Sprintf("The token has expired and its refresh fails: %s: %s", s.LastAttempt.Reason, failing)
	case failing != "":
		return metav1.ConditionFalse, s.LastAttempt.Reason, failing
	case o.unusableReason == v1alpha1.ReasonTokenExpired:
		return metav1.ConditionFalse, v1alpha1.ReasonTokenExpired, "The token has expired; a new one is due."
	case o.deferred != "":
		return metav1.ConditionFalse, v1alpha1.ReasonPending, o.deferred + "."
	default:
		return metav1.ConditionFalse, v1alpha1.ReasonPending, fmt.Sprintf("No %s has been %s yet.", w.thing, w.made)
	}
}

func (o outcome) set(s *v1alpha1.TokenGrantStatus, kind string, status metav1.ConditionStatus, reason v1alpha1.Reason, message string) {
	setCondition(&s.Conditions, o.now, o.grant.Generation, kind, status, reason, message)
}

// setCondition writes a condition; its transition time moves with its status only.
func setCondition(conditions *[]metav1.Condition, now time.Time, generation int64, kind string, status metav1.ConditionStatus, reason v1alpha1.Reason, message string) {
	meta.SetStatusCondition(conditions, metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: message,
		ObservedGeneration: generation, LastTransitionTime: seconds(now),
	})
}

// setProgress leaves of the two conditions of kstatus the given kind, or none; they are present only while they hold.
func setProgress(conditions *[]metav1.Condition, now time.Time, generation int64, kind string, reason v1alpha1.Reason, message string) {
	for _, other := range []string{v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled} {
		if other != kind {
			meta.RemoveStatusCondition(conditions, other)
		}
	}
	if kind != "" {
		setCondition(conditions, now, generation, kind, metav1.ConditionTrue, reason, message)
	}
}

// seconds is what the API stores of a time.
func seconds(t time.Time) metav1.Time { return metav1.NewTime(t.Truncate(time.Second)) }
