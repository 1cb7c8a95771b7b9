package plan

import "time"

// Rate is how often something may happen: Burst times at once, and PerMinute times a minute from then on.
type Rate struct{ Burst, PerMinute int }

var (
	// GrantRate is of what a grant does at its user's will: ten corrections in a row act at once, a loop gets six a minute.
	GrantRate = Rate{Burst: 10, PerMinute: 6}
	// IssuerRate is of discoveries. One that fails is repeated every 10 s, and leaves room for as many corrections.
	IssuerRate = Rate{Burst: 10, PerMinute: 12}
)

// NamespaceRate is that of all grants of a namespace together, so that other names are no way around GrantRate. It grows with
// the number of grants: all of them may be applied, or changed, at once.
func NamespaceRate(grants int) Rate { return Rate{Burst: 100 + 2*grants, PerMinute: 60 + 2*grants} }

// Budget counts what happens at a Rate. The zero value is one that nothing was spent of.
type Budget struct {
	spent float64
	at    time.Time
}

// Spend counts one more.
func (b *Budget) Spend(now time.Time, r Rate) { b.spent, b.at = b.left(now, r)+1, now }

// Next is when one more is allowed: not after now where it is allowed at once.
func (b *Budget) Next(now time.Time, r Rate) time.Time {
	excess := b.left(now, r) + 1 - float64(r.Burst)
	return now.Add(time.Duration(excess / float64(r.PerMinute) * float64(time.Minute)))
}

// Unspent says that a budget is as good as a new one.
func (b *Budget) Unspent(now time.Time, r Rate) bool { return b.left(now, r) == 0 }

// left is what has been spent and has not come back.
func (b *Budget) left(now time.Time, r Rate) float64 {
	back := max(now.Sub(b.at), 0).Minutes() * float64(r.PerMinute)
	return max(b.spent-back, 0)
}
