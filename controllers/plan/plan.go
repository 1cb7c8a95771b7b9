// Package plan decides: from a grant, what its Secret holds and the time, it says what to do and when. It has no
// client, no context and no clock, so the same input always gives the same answer: after a restart, on another
// leader, and in a test.
package plan

import (
	"time"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// Input is everything a decision depends on.
type Input struct {
	// Now is read once for each reconcile.
	Now time.Time
	// UID of the grant spreads the refreshes of many grants.
	UID string
	// Refresh is the margin that the user asks for.
	Refresh v1alpha1.Refresh
	// RotateAfter is the age at which an app password is replaced.
	RotateAfter time.Duration
	// RetireAt is when app passwords that were replaced are to be deleted; zero for never.
	RetireAt time.Time
	// Rejected says that Nextcloud does not take the held app password any more, which it took before.
	Rejected bool
	// Suspended stops minting and checking.
	Suspended bool
	// Inputs is what a token would be minted from now.
	Inputs Inputs
	// Request is the value of the refresh-requested annotation.
	Request string
	// Held is the record of the token in the Secret; nil without one.
	Held *Record
	// Lost says that the Secret's data are not what was published, and that they cannot be restored from memory.
	Lost bool
	// Failure is the latest failed attempt; nil after a success, and when what it tried has changed since.
	Failure *Failure
	// Check is nil when nothing is to be checked.
	Check *Check
	// Undisturbed says that Held is what this process published last, and that nothing has failed since: its refresh comes at a
	// time that no user has chosen.
	Undisturbed bool
	// NotBefore is when what does not come at its time may be done, by the rates of the grant and its namespace.
	NotBefore time.Time
}

// Failure is an attempt that failed.
type Failure struct {
	At     time.Time
	Reason v1alpha1.Reason
	// Count of failures in a row, at least 1.
	Count int32
	// RetryAfter is what the server asked for; 0 when it did not.
	RetryAfter time.Duration
}

// Check describes the check of the held token.
type Check struct {
	Interval time.Duration
	// LastAt is the last definite answer; zero without one.
	LastAt time.Time
	// Unconfirmed says that the last answer was not an acceptance, or was about another spec.
	Unconfirmed bool
	// Failure is the latest check that was no acceptance; nil when none was made with this spec.
	Failure *Failure
}

// Decision says what to do now, and when to look again.
type Decision struct {
	// Mint says that a token must be minted now, MintReason why one is due (also while it has to wait).
	Mint       bool
	MintReason string
	// Check says that the held token must be checked now.
	Check bool
	// Counts says that the mint or the check counts for the rates: it repeats a failure, or a user has called for it.
	Counts bool
	// Retire says that app passwords that were replaced must be deleted now.
	Retire bool
	// Usable says that the held token is what the spec asks for and valid now; otherwise UnusableReason says why not.
	Usable         bool
	UnusableReason v1alpha1.Reason
	// RefreshAt is when the held token is to be replaced; zero without one.
	RefreshAt time.Time
	// Wake is when to decide again if nothing happens before; zero is never.
	Wake time.Time
}

// Decide is the whole of the schedule.
func Decide(in Input) Decision {
	var d Decision
	if in.Held != nil {
		d.RefreshAt = in.Held.RefreshAt(in.UID, in.Refresh, in.RotateAfter)
	}
	d.UnusableReason = first(usable, in)
	d.Usable = d.UnusableReason == ""
	if d.Usable && !in.Held.Token.ExpiresAt.IsZero() {
		d.wakeAt(in.Held.Token.ExpiresAt.Time)
	}
	if in.Suspended {
		return d
	}
	d.planRetirement(in)
	if d.MintReason = first(mint, in); d.MintReason != "" {
		counts := d.MintReason != MintDue || !in.Undisturbed
		next := in.backoffEnd(in.Failure)
		if counts {
			next = later(next, in.NotBefore)
		}
		switch {
		case in.Failure != nil && HandlingOf(in.Failure.Reason) == Stalled:
			// A watch wakes us when the missing object comes.
		case in.Now.Before(next):
			d.wakeAt(next)
		default:
			d.Mint, d.Counts = true, counts
			if d.MintReason == MintRejected {
				d.wakeAt(in.Now.Add(time.Second)) // A check has found it out, and nobody else wakes after that.
			}
		}
	} else {
		d.wakeAt(d.RefreshAt)
	}
	if !d.Mint && d.Usable {
		d.planCheck(in)
	}
	return d
}

// Delay is how long to wait for Wake: at least a second, so that a wake-up in the past is no hot loop and never the
// zero that controller-runtime takes for "never". It is 0 when there is nothing to wait for.
func (d Decision) Delay(now time.Time) time.Duration {
	if d.Wake.IsZero() {
		return 0
	}
	return max(d.Wake.Sub(now), time.Second)
}

func (d *Decision) wakeAt(t time.Time) {
	if d.Wake.IsZero() || t.Before(d.Wake) {
		d.Wake = t
	}
}

// planCheck asks again at the interval, and sooner while the last answer proved nothing.
func (d *Decision) planCheck(in Input) {
	if in.Check == nil {
		return
	}
	next := in.Check.LastAt.Add(in.Check.Interval)
	if in.Check.Unconfirmed {
		next = later(in.backoffEnd(in.Check.Failure), in.NotBefore)
	}
	if in.Now.Before(next) {
		d.wakeAt(next)
		return
	}
	d.Check, d.Counts = true, in.Check.Unconfirmed
}

// backoffEnd is when another try may follow a failure; the zero time when nothing has failed.
func (in Input) backoffEnd(f *Failure) time.Time {
	if f == nil {
		return time.Time{}
	}
	var lifeLeft time.Duration
	if in.Held != nil {
		lifeLeft = in.Held.lifeLeft(f.At)
	}
	return f.At.Add(Backoff(in.UID, *f, lifeLeft))
}
