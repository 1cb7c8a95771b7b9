package controllers

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/nextcloud"
)

var (
	noon    = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	earlier = noon.Add(-time.Hour)
)

// checked is a grant of generation 3 with a check.
func checked() *v1alpha1.TokenGrant {
	g := &v1alpha1.TokenGrant{}
	g.Name, g.Namespace, g.Generation = "notes-sync", "apps", 3
	g.Spec.Check = &v1alpha1.Check{Nextcloud: &v1alpha1.NextcloudCheck{URL: "https://cloud.example.com"}}
	return g
}

func recordOf(life time.Duration) *plan.Record {
	issued := metav1.NewTime(noon.Add(-10 * time.Second))
	return &plan.Record{Token: v1alpha1.TokenStatus{
		ClientID: "notes-sync", Audiences: []string{"nextcloud"}, IssuedAt: issued, ExpiresAt: metav1.NewTime(issued.Add(life)),
	}}
}

// holding is the outcome of a reconcile that found a good token of five minutes and did nothing.
func holding() outcome {
	return outcome{now: noon, grant: checked(), record: recordOf(5 * time.Minute), usable: true, refreshAt: noon.Add(3 * time.Minute)}
}

// empty is the outcome of a reconcile that found no token and minted none.
func empty() outcome {
	return outcome{now: noon, grant: checked(), unusableReason: v1alpha1.ReasonPending, waiting: true}
}

func and(o outcome, change func(*outcome)) outcome {
	o.grant = o.grant.DeepCopy()
	change(&o)
	return o
}

func failing(reason v1alpha1.Reason) func(*outcome) {
	return func(o *outcome) { o.failed, o.count = failf(reason, "what to do about %s", reason), 1 }
}

func verdict(outcome nextcloud.Outcome, reason v1alpha1.Reason) *nextcloud.Verdict {
	v := &nextcloud.Verdict{Outcome: outcome, Reason: reason, Message: "what Nextcloud says of it"}
	if outcome == nextcloud.Accepted {
		v.Identity = &nextcloud.Identity{User: "service-account-notes-sync", Groups: []string{"sync"}}
	}
	return v
}

// after gives the status that some outcomes leave, one after the other.
func after(outcomes ...outcome) v1alpha1.TokenGrantStatus {
	var s v1alpha1.TokenGrantStatus
	for _, o := range outcomes {
		o.apply(&s)
	}
	return s
}

// said lists the conditions as "Type=Status Reason", sorted.
func said(s v1alpha1.TokenGrantStatus) []string {
	var lines []string
	for _, c := range s.Conditions {
		lines = append(lines, c.Type+"="+string(c.Status)+" "+c.Reason)
	}
	slices.Sort(lines)
	return lines
}

func TestWhoHoldsATokenIsServedFirst(t *testing.T) {
	for name, tc := range map[string]struct {
		outcome outcome
		want    int
	}{
		"a token that lives":                          {holding(), priorityHolding},
		"a token that lives and cannot be refreshed":  {and(holding(), failing(v1alpha1.ReasonIssuerUnreachable)), priorityHolding},
		"no token yet":                                {empty(), 0},
		"a token that lives, and no turn for another": {and(holding(), func(o *outcome) { o.queued = true }), priorityWaiting},
		"no token, and none to be had":                {and(empty(), failing(v1alpha1.ReasonClientRejected)), priorityFailing},
	} {
		if got := tc.outcome.priority(); got != tc.want {
			t.Errorf("%s: priority %d, want %d", name, got, tc.want)
		}
	}
}

func TestAnIssuerThatIsNotAskedLeavesTheStatusAsItIs(t *testing.T) {
	unreachable := and(empty(), failing(v1alpha1.ReasonIssuerUnreachable))
	once := after(unreachable)
	again := and(unreachable, func(o *outcome) {
		o.now, o.count = noon.Add(time.Minute), 2
		o.failed = &failure{reason: v1alpha1.ReasonIssuerUnreachable, message: "not asked again yet", notAsked: true}
	})
	if diff := cmp.Diff(once, after(unreachable, again)); diff != "" {
		t.Errorf("the status changed (-before +after):\n%s", diff)
	}
	if got := after(again).LastAttempt; got == nil || got.Reason != v1alpha1.ReasonIssuerUnreachable {
		t.Errorf("last attempt %v of a grant that knew nothing of it, want IssuerUnreachable", got)
	}
	rejected := and(empty(), failing(v1alpha1.ReasonClientRejected))
	if got := after(rejected, again).LastAttempt.Reason; got != v1alpha1.ReasonIssuerUnreachable {
		t.Errorf("last attempt %s of a grant that had failed otherwise, want IssuerUnreachable", got)
	}
}

func TestConditions(t *testing.T) {
	const (
		enough   = "LifetimeSufficient=True TokenLifetimeSufficient"
		ready    = "Ready=True Published"
		accepted = "CheckPassed=True NextcloudAccepted"
	)
	minted := and(holding(), func(o *outcome) { o.minted, o.verdict = true, verdict(nextcloud.Accepted, "") })
	expired := and(holding(), func(o *outcome) {
		o.usable, o.unusableReason, o.waiting = false, v1alpha1.ReasonTokenExpired, true
	})
	suspended := func(o *outcome) { o.grant.Spec.Suspend = true }
	for _, tc := range []struct {
		name     string
		outcomes []outcome
		want     []string
	}{
		{"nothing done yet", []outcome{empty()}, []string{"Ready=False Pending", "Reconciling=True Pending"}},
		{"minted and accepted", []outcome{minted}, []string{accepted, enough, ready}},
		{"minted, with no check asked for", []outcome{and(holding(), func(o *outcome) {
			o.minted, o.grant.Spec.Check = true, nil
		})}, []string{enough, ready}},
		{"a check that was taken out of the spec", []outcome{minted, and(holding(), func(o *outcome) { o.grant.Spec.Check = nil })}, []string{enough, ready}},
		{"a quiet reconcile keeps what Nextcloud said", []outcome{minted, holding()}, []string{accepted, enough, ready}},

		{"a refused refresh leaves Ready while the token lives", []outcome{minted, and(holding(), failing(v1alpha1.ReasonClientRejected))}, []string{accepted, enough, ready}},
		{"so does a missing Secret", []outcome{minted, and(holding(), failing(v1alpha1.ReasonCredentialMissing))}, []string{accepted, enough, ready}},
		{"so does an issuer that does not answer", []outcome{minted, and(holding(), failing(v1alpha1.ReasonIssuerUnreachable))}, []string{accepted, enough, ready}},
		{"a waiting retry still knows why", []outcome{and(empty(), failing(v1alpha1.ReasonClientRejected)), empty()}, []string{"Ready=False ClientRejected", "Stalled=True ClientRejected"}},

		{"a refused first token is for somebody to mend", []outcome{and(empty(), failing(v1alpha1.ReasonExchangeNotEnabled))}, []string{"Ready=False ExchangeNotEnabled", "Stalled=True ExchangeNotEnabled"}},
		{"a missing Secret is for somebody to mend", []outcome{and(empty(), failing(v1alpha1.ReasonCredentialMissing))}, []string{"Ready=False CredentialMissing", "Stalled=True CredentialMissing"}},
		{"an issuer that does not answer is for time to mend", []outcome{and(empty(), failing(v1alpha1.ReasonIssuerUnreachable))}, []string{"Ready=False IssuerUnreachable", "Reconciling=True IssuerUnreachable"}},
		{"a refused write is for time to mend", []outcome{and(empty(), failing(v1alpha1.ReasonSecretNotWritten))}, []string{"Ready=False SecretNotWritten", "Reconciling=True SecretNotWritten"}},

		{"expired, and a new one is due", []outcome{minted, expired}, []string{accepted, enough, "Ready=False TokenExpired", "Reconciling=True TokenExpired"}},
		{"expired, and the issuer does not answer", []outcome{minted, and(expired, failing(v1alpha1.ReasonIssuerUnreachable))}, []string{accepted, enough, "Ready=False TokenExpired", "Reconciling=True TokenExpired"}},
		{"expired, and the client is refused", []outcome{minted, and(expired, failing(v1alpha1.ReasonClientRejected))}, []string{accepted, enough, "Ready=False TokenExpired", "Stalled=True TokenExpired"}},
		{"minted again after it had expired", []outcome{minted, and(expired, failing(v1alpha1.ReasonClientRejected)), minted}, []string{accepted, enough, ready}},
		{"the Secret went, and what Nextcloud said of its token too", []outcome{minted, empty()}, []string{"Ready=False Pending", "Reconciling=True Pending"}},

		{"a first token that Nextcloud rejects", []outcome{and(empty(), func(o *outcome) {
			failing(v1alpha1.ReasonNextcloudRejected)(o)
			o.verdict = verdict(nextcloud.Rejected, v1alpha1.ReasonNextcloudRejected)
		})}, []string{"CheckPassed=False NextcloudRejected", "Ready=False NextcloudRejected", "Stalled=True NextcloudRejected"}},
		{"a rejection stays while there is no token", []outcome{and(empty(), func(o *outcome) {
			failing(v1alpha1.ReasonNextcloudRejected)(o)
			o.verdict = verdict(nextcloud.Rejected, v1alpha1.ReasonNextcloudRejected)
		}), empty()}, []string{"CheckPassed=False NextcloudRejected", "Ready=False NextcloudRejected", "Stalled=True NextcloudRejected"}},
		{"the published token turns out to be another user's", []outcome{minted, and(holding(), func(o *outcome) {
			o.verdict = verdict(nextcloud.Rejected, v1alpha1.ReasonNextcloudWrongUser)
		})}, []string{"CheckPassed=False NextcloudWrongUser", enough, "Ready=False NextcloudWrongUser", "Stalled=True NextcloudWrongUser"}},
		{"Nextcloud does not answer: published all the same", []outcome{and(holding(), func(o *outcome) {
			o.minted, o.verdict = true, verdict(nextcloud.Unknown, v1alpha1.ReasonNextcloudUnreachable)
		})}, []string{"CheckPassed=Unknown NextcloudUnreachable", enough, ready}},
		{"Nextcloud accepts again", []outcome{and(holding(), func(o *outcome) {
			o.verdict = verdict(nextcloud.Rejected, v1alpha1.ReasonNextcloudForbidden)
		}), and(holding(), func(o *outcome) { o.verdict = verdict(nextcloud.Accepted, "") })}, []string{accepted, enough, ready}},

		{"suspended with a good token", []outcome{minted, and(holding(), suspended)}, []string{accepted, enough, "Ready=True Suspended"}},
		{"suspended with an expired token is for somebody to end", []outcome{minted, and(expired, suspended)}, []string{accepted, enough, "Ready=False Suspended", "Stalled=True Suspended"}},
		{"suspended without a token", []outcome{and(empty(), suspended)}, []string{"Ready=False Suspended", "Stalled=True Suspended"}},
		{"suspended no more", []outcome{and(empty(), suspended), minted}, []string{accepted, enough, ready}},
		{"suspended with a rejected token: the rejection weighs more", []outcome{and(holding(), func(o *outcome) {
			suspended(o)
			o.verdict = verdict(nextcloud.Rejected, v1alpha1.ReasonNextcloudRejected)
		})}, []string{"CheckPassed=False NextcloudRejected", enough, "Ready=False NextcloudRejected", "Stalled=True NextcloudRejected"}},

		{"a token too short to reach a volume is a warning", []outcome{and(minted, func(o *outcome) { o.record = recordOf(time.Minute) })}, []string{accepted, "LifetimeSufficient=False TokenLifetimeTooShort", ready}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, said(after(tc.outcomes...))); diff != "" {
				t.Errorf("conditions (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMessagesSayWhatToDo(t *testing.T) {
	good := and(holding(), func(o *outcome) { o.minted, o.verdict = true, verdict(nextcloud.Accepted, "") })
	for _, tc := range []struct {
		name, condition string
		status          v1alpha1.TokenGrantStatus
		want            string
	}{
		{"published", v1alpha1.ConditionReady, after(good), `Secret "notes-sync" holds a verified token.`},
		{
			"a failed refresh", v1alpha1.ConditionReady, after(good, and(holding(), failing(v1alpha1.ReasonClientRejected))),
			"The token is valid; its refresh fails: ClientRejected: what to do about ClientRejected",
		},
		{
			"expired with a failure", v1alpha1.ConditionReady,
			after(and(holding(), func(o *outcome) {
				o.usable, o.unusableReason = false, v1alpha1.ReasonTokenExpired
				failing(v1alpha1.ReasonIssuerUnreachable)(o)
			})),
			"The token has expired and its refresh fails: IssuerUnreachable: what to do about IssuerUnreachable",
		},
		{"never minted", v1alpha1.ConditionReady, after(empty()), "No token has been minted yet."},
		{"accepted", v1alpha1.ConditionCheckPassed, after(good), `Nextcloud knows the token as user "service-account-notes-sync".`},
		{
			"too short", v1alpha1.ConditionLifetimeSufficient, after(and(good, func(o *outcome) { o.record = recordOf(30 * time.Second) })),
			`Tokens live 30s and are replaced 10s before they expire, but the kubelet takes up to 1m30s to bring a changed Secret to a volume: ` +
				`raise access.token.lifespan of client "notes-sync" to 5m or more, set spec.delivery.secret.nudgePods, or read the Secret through the API.`,
		},
		{
			"too short even for nudged pods", v1alpha1.ConditionLifetimeSufficient,
			after(and(good, func(o *outcome) {
				o.grant.Spec.Delivery = &v1alpha1.Delivery{Secret: &v1alpha1.SecretDelivery{NudgePods: true}}
				o.record = recordOf(6 * time.Second)
			})),
			`Tokens live 6s and are replaced 2s before they expire, but the kubelet takes up to 5s to bring a changed Secret to a volume: raise access.token.lifespan of client "notes-sync" to 5m or more, or read the Secret through the API.`,
		},
		{
			"too short, as pods could not be nudged", v1alpha1.ConditionLifetimeSufficient,
			after(and(good, func(o *outcome) {
				o.grant.Spec.Delivery = &v1alpha1.Delivery{Secret: &v1alpha1.SecretDelivery{NudgePods: true}}
				o.unnudged, o.record = "Forbidden", recordOf(30*time.Second)
			})),
			`Tokens live 30s and are replaced 10s before they expire, but the kubelet takes up to 1m30s to bring a changed Secret to a volume, because pods could not be nudged (Forbidden): raise access.token.lifespan of client "notes-sync" to 5m or more, let the operator nudge pods (rbac.nudgePods=true in the chart, or kubectl apply -k config/nudge-pods), or read the Secret through the API.`,
		},
		{"long enough", v1alpha1.ConditionLifetimeSufficient, after(good), "Tokens live 5m0s and are replaced 1m39s before they expire."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := meta.FindStatusCondition(tc.status.Conditions, tc.condition)
			if c == nil {
				t.Fatalf("no condition %s", tc.condition)
			}
			if diff := cmp.Diff(tc.want, c.Message); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
			if c.ObservedGeneration != 3 {
				t.Errorf("condition of generation %d, want 3", c.ObservedGeneration)
			}
		})
	}
}

func TestAttempts(t *testing.T) {
	at := func(when time.Time, o outcome) outcome { return and(o, func(o *outcome) { o.now = when }) }
	missing := and(empty(), failing(v1alpha1.ReasonCredentialMissing))
	refused := and(empty(), failing(v1alpha1.ReasonClientRejected))
	minted := and(holding(), func(o *outcome) { o.minted = true })
	attempt := func(when time.Time, reason v1alpha1.Reason) *v1alpha1.Attempt {
		return &v1alpha1.Attempt{Time: metav1.NewTime(when), Reason: reason}
	}
	for _, tc := range []struct {
		name     string
		outcomes []outcome
		want     *v1alpha1.Attempt
		failures int32
	}{
		{"nothing was tried", []outcome{empty()}, nil, 0},
		{"a mint", []outcome{minted}, attempt(noon, v1alpha1.ReasonPublished), 0},
		{"a quiet reconcile keeps the last attempt", []outcome{at(earlier, minted), holding()}, attempt(earlier, v1alpha1.ReasonPublished), 0},
		{"a refusal", []outcome{refused}, attempt(noon, v1alpha1.ReasonClientRejected), 1},
		{"a second refusal has its own time", []outcome{at(earlier, refused), and(refused, func(o *outcome) { o.count = 2 })}, attempt(noon, v1alpha1.ReasonClientRejected), 2},
		{"a wait for the backoff is no attempt", []outcome{at(earlier, refused), empty()}, attempt(earlier, v1alpha1.ReasonClientRejected), 1},
		{"a mint ends the failures", []outcome{refused, minted}, attempt(noon, v1alpha1.ReasonPublished), 0},
		{"while the same is missing nothing is tried, and nothing written", []outcome{at(earlier, missing), and(missing, func(o *outcome) { o.count = 2 })}, attempt(earlier, v1alpha1.ReasonCredentialMissing), 1},
		{"when something else is missing, that is told", []outcome{at(earlier, missing), and(empty(), func(o *outcome) {
			failing(v1alpha1.ReasonIssuerNotFound)(o)
			o.count = 2
		})}, attempt(noon, v1alpha1.ReasonIssuerNotFound), 2},
		{"missing once more, after it was there", []outcome{
			at(earlier, and(holding(), failing(v1alpha1.ReasonIssuerNotFound))), holding(), and(holding(), failing(v1alpha1.ReasonIssuerNotFound)),
		}, attempt(noon, v1alpha1.ReasonIssuerNotFound), 1},
		{"what was missing is there again, and no token is due", []outcome{at(earlier, and(holding(), failing(v1alpha1.ReasonIssuerNotFound))), holding()}, attempt(earlier, v1alpha1.ReasonIssuerNotFound), 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := after(tc.outcomes...)
			if diff := cmp.Diff(tc.want, s.LastAttempt, cmpopts.IgnoreFields(v1alpha1.Attempt{}, "Message")); diff != "" {
				t.Errorf("last attempt (-want +got):\n%s", diff)
			}
			if s.ConsecutiveFailures != tc.failures {
				t.Errorf("%d failures, want %d", s.ConsecutiveFailures, tc.failures)
			}
		})
	}
}

func TestTokenAndNextcloudInTheStatus(t *testing.T) {
	minted := and(holding(), func(o *outcome) {
		o.minted, o.verdict = true, verdict(nextcloud.Accepted, "")
		o.grant.Spec.Delivery = &v1alpha1.Delivery{Secret: &v1alpha1.SecretDelivery{Name: "notes-sync-token"}}
		o.refreshAt = noon.Add(3*time.Minute + 700*time.Millisecond)
	})
	at, refresh := metav1.NewTime(noon), metav1.NewTime(noon.Add(3*time.Minute))
	want := v1alpha1.TokenGrantStatus{
		ObservedGeneration: 3,
		SecretName:         "notes-sync-token",
		Token:              &recordOf(5 * time.Minute).Token,
		RefreshAt:          &refresh,
		LastAttempt:        &v1alpha1.Attempt{Time: at, Reason: v1alpha1.ReasonPublished, Message: "Minted, verified and published."},
		Check:              &v1alpha1.CheckStatus{User: "service-account-notes-sync", Groups: []string{"sync"}, CheckedAt: &at},
	}
	ignoreConditions := cmpopts.IgnoreFields(v1alpha1.TokenGrantStatus{}, "Conditions")
	if diff := cmp.Diff(want, after(minted), ignoreConditions); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}

	t.Run("an answer that proves nothing leaves what was known", func(t *testing.T) {
		s := after(minted, and(minted, func(o *outcome) {
			o.now, o.minted, o.verdict = noon.Add(time.Minute), false, verdict(nextcloud.Unknown, v1alpha1.ReasonNextcloudMaintenance)
		}))
		if diff := cmp.Diff(want, s, ignoreConditions); diff != "" {
			t.Errorf("status (-want +got):\n%s", diff)
		}
	})
	t.Run("a suspended grant has no time of refresh", func(t *testing.T) {
		if s := after(minted, and(holding(), func(o *outcome) { o.grant.Spec.Suspend = true })); s.RefreshAt != nil {
			t.Errorf("refresh at %s", s.RefreshAt)
		}
	})
	t.Run("without a Secret nothing is said of a token", func(t *testing.T) {
		s := after(minted, empty())
		if s.Token != nil || s.SecretName != "" || s.RefreshAt != nil || s.Check != nil {
			t.Errorf("status %+v", s)
		}
	})
}

func TestTransitionTimeMovesWithTheStatusOnly(t *testing.T) {
	first := and(holding(), func(o *outcome) { o.now, o.minted = earlier, true })
	s := after(first, and(holding(), failing(v1alpha1.ReasonIssuerUnreachable)))
	c := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionReady)
	if !c.LastTransitionTime.Time.Equal(earlier) || !strings.Contains(c.Message, "its refresh fails") {
		t.Errorf("Ready turned at %s with %q, want it unchanged since %s with a new message", c.LastTransitionTime, c.Message, earlier)
	}
	s = after(first, empty())
	if c := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionReady); !c.LastTransitionTime.Time.Equal(noon) {
		t.Errorf("Ready turned at %s, want %s", c.LastTransitionTime, noon)
	}
}

// TestSecondRunChangesNothing: what is written once must not differ when it is written again, or every reconcile patches.
func TestSecondRunChangesNothing(t *testing.T) {
	for name, o := range map[string]outcome{
		"holding": holding(), "empty": empty(), "stalled": and(empty(), failing(v1alpha1.ReasonSecretConflict)),
	} {
		t.Run(name, func(t *testing.T) {
			later := and(o, func(o *outcome) { o.now = noon.Add(time.Minute) })
			if diff := cmp.Diff(after(o), after(o, later)); diff != "" {
				t.Errorf("status (-once +twice):\n%s", diff)
			}
		})
	}
}

// TestConditionsOfOtherVersionsGo: nobody would change them again.
func TestConditionsOfOtherVersionsGo(t *testing.T) {
	s := v1alpha1.TokenGrantStatus{Conditions: []metav1.Condition{{Type: "OfANewerVersion", Status: metav1.ConditionTrue}}}
	o := holding()
	o.apply(&s)
	if meta.FindStatusCondition(s.Conditions, "OfANewerVersion") != nil || !meta.IsStatusConditionTrue(s.Conditions, v1alpha1.ConditionReady) {
		t.Errorf("%v", s.Conditions)
	}
}
