package plan

import (
	"hash/fnv"
	"strconv"
	"time"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

const (
	// Propagation is how long the kubelet takes at most to bring a changed Secret to a volume (measured: 30–87 s).
	Propagation = 90 * time.Second
	// NudgedPropagation is the same for a pod that was nudged: a second at most, and a kubelet that has much to do.
	NudgedPropagation = 5 * time.Second

	defaultPercentage = 33
	// maxLife keeps the arithmetic in range; no schedule needs more.
	maxLife = 10 * 365 * 24 * time.Hour
	// MaxSkew is how far the issuer's clock may be from ours before iat is no word on the time any more.
	MaxSkew = 10 * time.Minute

	jitterShare   = 0.10
	retryBase     = time.Second
	retryCap      = time.Minute
	refusedBase   = 30 * time.Second
	refusedCap    = 5 * time.Minute
	refusedFloor  = 15 * time.Second
	retryAfterCap = 10 * time.Minute
)

// Life is how long a token lives that was asked for at asked, by our clock: the smaller one of expires_in and of the
// life that its claims state. expiresIn is nil when the issuer did not say; an expires_in that is not positive says
// nothing about a token whose signed exp does, so it is passed over. The claims count from iat, the issuer's own
// clock, so that a clock that is wrong by less than ten minutes on either side does not matter.
// It is 0 or negative when the token has no life left.
func Life(asked time.Time, expiresIn *int64, iat, exp time.Time) time.Duration {
	life := exp.Sub(IssuerNow(asked, iat))
	if expiresIn != nil && *expiresIn > 0 {
		life = min(life, time.Duration(min(*expiresIn, int64(maxLife/time.Second)))*time.Second)
	}
	return min(life, maxLife)
}

// IssuerNow is the time by the issuer's clock at the moment of the mint: iat when it is near our now, else our now.
func IssuerNow(now, iat time.Time) time.Time {
	if skew := iat.Sub(now); skew.Abs() <= MaxSkew {
		return iat
	}
	return now
}

// Margin is how much life is left at the refresh: what the user asks for, at most half of the life.
func Margin(life time.Duration, r v1alpha1.Refresh) time.Duration {
	margin := life / 100 * defaultPercentage
	switch {
	case r.Before != nil:
		margin = r.Before.Duration
	case r.BeforePercentage != nil:
		margin = life / 100 * time.Duration(*r.BeforePercentage)
	}
	return min(margin, life/2)
}

// RefreshAt is when the token must be replaced: its margin before its expiry, and up to a tenth of its life earlier,
// so that grants applied together are not refreshed together. The jitter is a hash of the grant and the token, not a
// random number, so that every process at every time computes the same. It is never sooner than the least interval
// between two mints. The API stores its whole seconds only; keeping to them would let all refreshes of a second begin at
// the same moment, and the last of them wait for the others.
func RefreshAt(uid string, issuedAt, expiresAt time.Time, r v1alpha1.Refresh) time.Time {
	life := expiresAt.Sub(issuedAt)
	jitter := time.Duration(float64(life) * jitterShare * fraction(uid, issuedAt.Unix()))
	wait := life - Margin(life, r) - jitter
	return issuedAt.Add(max(wait, leastInterval(life))).Truncate(time.Millisecond) // The last bits differ between processors.
}

// leastInterval bounds the rate of mints of one grant: five seconds; half of the life of shorter tokens; one second.
func leastInterval(life time.Duration) time.Duration {
	return max(min(5*time.Second, life/2), time.Second)
}

// overdueAfter is how late a refresh may be before it is taken for forgotten.
const overdueAfter = 10 * time.Second

// Overdue says that the time for a grant's refresh has passed for a while.
func Overdue(g *v1alpha1.TokenGrant, now time.Time) bool {
	at := g.Status.RefreshAt
	return at != nil && !g.Spec.Suspend && now.Sub(at.Time) > overdueAfter
}

// PropagationOf is how long a changed Secret takes to reach a volume at most, of pods that are nudged or are not.
func PropagationOf(nudged bool) time.Duration {
	if nudged {
		return NudgedPropagation
	}
	return Propagation
}

// SufficientLife says whether a changed Secret reaches a volume before the token in it expires.
func SufficientLife(life time.Duration, r v1alpha1.Refresh, propagation time.Duration) bool {
	return Margin(life, r) >= propagation
}

// Backoff is the wait after a failure. lifeLeft is what the held token has left at the failure, 0 without one.
func Backoff(uid string, f Failure, lifeLeft time.Duration) time.Duration {
	base, limit, floor := refusedBase, refusedCap, refusedFloor
	if HandlingOf(f.Reason) == Retry {
		base, limit, floor = retryBase, retryCap, retryBase
	}
	if lifeLeft > 0 {
		limit = max(min(limit, lifeLeft/4), floor)
	}
	wait := limit
	if doublings := max(f.Count, 1) - 1; doublings < 16 {
		wait = min(base<<doublings, limit)
	}
	wait -= time.Duration(float64(wait) * 0.2 * fraction(uid, f.At.Unix()))
	return max(wait, min(f.RetryAfter, retryAfterCap), retryBase)
}

// fraction is a number in [0,1) that is always the same for one grant and one moment.
func fraction(uid string, moment int64) float64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(uid + "/" + strconv.FormatInt(moment, 10)))
	return float64(mix(h.Sum64())>>11) / float64(1<<53)
}

// mix spreads the bits of an FNV hash, whose high ones hardly change with the last characters of a short input
// (the finalizer of MurmurHash3).
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
