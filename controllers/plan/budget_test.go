package plan

import (
	"testing"
	"time"
)

// TestALoopGetsItsRate: whoever asks as often as they can gets the burst, and the rate from then on.
func TestALoopGetsItsRate(t *testing.T) {
	for name, tt := range map[string]struct {
		rate   Rate
		passes time.Duration
		want   int
	}{
		"a grant, for a second":                  {GrantRate, time.Second, 10},
		"a grant, for a minute":                  {GrantRate, time.Minute, 16},
		"a grant, for an hour":                   {GrantRate, time.Hour, 370},
		"an issuer, for a minute":                {IssuerRate, time.Minute, 22},
		"a namespace of one grant, for a minute": {NamespaceRate(1), time.Minute, 164},
	} {
		t.Run(name, func(t *testing.T) {
			var b Budget
			done := 0
			for now := noon; !now.After(noon.Add(tt.passes)); now = now.Add(100 * time.Millisecond) {
				if !b.Next(now, tt.rate).After(now) {
					b.Spend(now, tt.rate)
					done++
				}
			}
			if done != tt.want {
				t.Errorf("%d times, want %d", done, tt.want)
			}
		})
	}
}

func TestABudgetComesBack(t *testing.T) {
	var b Budget
	if !b.Unspent(noon, GrantRate) || b.Next(noon, GrantRate).After(noon) {
		t.Error("a new budget is spent")
	}
	for range GrantRate.Burst {
		b.Spend(noon, GrantRate)
	}
	if got := b.Next(noon, GrantRate).Sub(noon); got != 10*time.Second {
		t.Errorf("the next one is allowed after %s, want 10s", got)
	}
	if early := noon.Add(-time.Hour); b.Next(early, GrantRate).Sub(early) != 10*time.Second {
		t.Error("a clock that goes back changes the pause")
	}
	if later := noon.Add(100 * time.Second); !b.Unspent(later, GrantRate) {
		t.Error("it is not unspent after all of it has come back")
	}
}

// TestAllGrantsOfANamespaceMayBeAppliedAtOnce, however many they are.
func TestAllGrantsOfANamespaceMayBeAppliedAtOnce(t *testing.T) {
	var b Budget
	for n := 1; n <= 10_000; n++ {
		if r := NamespaceRate(n); b.Next(noon, r).After(noon) {
			t.Fatalf("grant %d waits", n)
		}
		b.Spend(noon, NamespaceRate(n))
	}
	if r := NamespaceRate(10_000); b.Next(noon, r).After(noon) {
		t.Error("all of them have been applied, and none may be changed")
	}
}
