package plan

import (
	"math"
	"testing"
	"time"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

func TestBackoff(t *testing.T) {
	const none = time.Duration(0)
	for _, tc := range []struct {
		name       string
		reason     v1alpha1.Reason
		count      int32
		retryAfter time.Duration
		lifeLeft   time.Duration
		// most is the wait without jitter, which takes up to a fifth away.
		most time.Duration
	}{
		{"no answer, first time", v1alpha1.ReasonIssuerUnreachable, 1, 0, none, time.Second},
		{"no answer, fourth time", v1alpha1.ReasonIssuerUnreachable, 4, 0, none, 8 * time.Second},
		{"no answer, many times: a minute", v1alpha1.ReasonIssuerUnreachable, 12, 0, none, time.Minute},
		{"no answer, more often than a shift can hold", v1alpha1.ReasonIssuerUnreachable, math.MaxInt32, 0, none, time.Minute},
		{"a count of 0 is taken for 1", v1alpha1.ReasonIssuerUnreachable, 0, 0, none, time.Second},
		{"no answer, 100 s of life left: a quarter of them", v1alpha1.ReasonIssuerUnreachable, 12, 0, 100 * time.Second, 25 * time.Second},
		{"no answer, an hour left: still a minute", v1alpha1.ReasonIssuerUnreachable, 12, 0, time.Hour, time.Minute},
		{"no answer, a second left: not faster than a second", v1alpha1.ReasonIssuerUnreachable, 12, 0, time.Second, time.Second},
		{"a token that has expired no longer hurries", v1alpha1.ReasonIssuerUnreachable, 12, 0, -time.Minute, time.Minute},
		{"refused, first time", v1alpha1.ReasonClientRejected, 1, 0, none, 30 * time.Second},
		{"refused, second time", v1alpha1.ReasonClientRejected, 2, 0, none, time.Minute},
		{"refused, many times: five minutes", v1alpha1.ReasonClientRejected, 9, 0, none, 5 * time.Minute},
		{"refused, 200 s left: a quarter of them", v1alpha1.ReasonClientRejected, 9, 0, 200 * time.Second, 50 * time.Second},
		{"refused, 10 s left: not faster than 15 s", v1alpha1.ReasonClientRejected, 9, 0, 10 * time.Second, 15 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := Failure{At: noon, Reason: tc.reason, Count: tc.count, RetryAfter: tc.retryAfter}
			got := Backoff("uid-1", f, tc.lifeLeft)
			if least := max(tc.most*4/5, time.Second); got > tc.most || got < least {
				t.Errorf("wait %s, want between %s and %s", got, least, tc.most)
			}
			if again := Backoff("uid-1", f, tc.lifeLeft); again != got {
				t.Errorf("wait %s, then %s: it must not be rolled anew", got, again)
			}
		})
	}
}

func TestRetryAfterOfAServer(t *testing.T) {
	for _, tc := range []struct {
		name       string
		retryAfter time.Duration
		want       time.Duration
	}{
		{"is kept to", 2 * time.Minute, 2 * time.Minute},
		{"is cut to ten minutes", time.Hour, 10 * time.Minute},
		{"does not shorten the backoff", time.Millisecond, time.Second},
		{"below zero is passed over", -time.Hour, time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := Failure{At: noon, Reason: v1alpha1.ReasonThrottled, Count: 1, RetryAfter: tc.retryAfter}
			if got := Backoff("uid-1", f, 0); got != tc.want {
				t.Errorf("wait %s, want %s", got, tc.want)
			}
		})
	}
}

func TestGrantsThatFailTogetherAreSpread(t *testing.T) {
	waits := map[time.Duration]bool{}
	for i := range 100 {
		f := Failure{At: noon, Reason: v1alpha1.ReasonIssuerUnreachable, Count: 10}
		waits[Backoff(string(rune('a'+i)), f, 0).Truncate(time.Second)] = true
	}
	if len(waits) < 10 {
		t.Errorf("100 grants try again in %d different seconds, want at least 10", len(waits))
	}
}
