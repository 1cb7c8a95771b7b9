package plan

import "time"

const (
	// RemakeAfter is the least age of an app password that is replaced because Nextcloud does not take it any more.
	RemakeAfter = 10 * time.Minute
	// LoginPause is the least time between two logins of which the first has no known answer: it may have been refused,
	// and refused logins shut out everybody at this address.
	LoginPause = 10 * time.Minute
)

// RotateAt is when an app password must be replaced: at its age, and up to a tenth of it earlier, so that those that were
// made together are not replaced together. As with tokens the jitter is a hash, and the same in every process.
func RotateAt(uid string, madeAt time.Time, after time.Duration) time.Time {
	jitter := time.Duration(float64(after) * jitterShare * fraction(uid, madeAt.Unix()))
	return madeAt.Add(after - jitter).Truncate(time.Second)
}

// remakeAt is when another app password may be made in place of the held one that is rejected.
func (in Input) remakeAt() time.Time { return in.Held.Token.IssuedAt.Add(RemakeAfter) }

// planRetirement says whether replaced app passwords are to be deleted now, and wakes for those that come later.
func (d *Decision) planRetirement(in Input) {
	if in.Held != nil && in.Rejected && in.Now.Before(in.remakeAt()) {
		d.wakeAt(in.remakeAt())
	}
	if in.RetireAt.IsZero() {
		return
	}
	d.Retire = !in.Now.Before(in.RetireAt)
	d.wakeAt(later(in.RetireAt, in.Now.Add(time.Second)))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
