package plan

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

func failed(at time.Time, reason v1alpha1.Reason) *Failure {
	return &Failure{At: at, Reason: reason, Count: 1}
}

func settled(lastAt time.Time) *Check { return &Check{Interval: 10 * time.Minute, LastAt: lastAt} }

func TestDecide(t *testing.T) {
	const minute = time.Minute
	hour := func(in *Input) { in.Held = held(noon.Add(-minute), time.Hour) }
	refreshAt := func(in Input) time.Time {
		return RefreshAt(in.UID, in.Held.Token.IssuedAt.Time, in.Held.Token.ExpiresAt.Time, in.Refresh)
	}
	expiry := func(in Input) time.Time { return in.Held.Token.ExpiresAt.Time }
	wait := func(in Input, f *Failure) time.Time {
		left := time.Duration(0)
		if in.Held != nil {
			left = in.Held.Token.ExpiresAt.Sub(f.At)
		}
		return f.At.Add(Backoff(in.UID, *f, left))
	}
	for _, tc := range []struct {
		name   string
		change func(*Input)
		want   func(Input) Decision
	}{
		{"nothing held: mint", func(in *Input) { in.Held = nil }, func(Input) Decision {
			return Decision{Mint: true, Counts: true, MintReason: MintMissing, UnusableReason: v1alpha1.ReasonPending}
		}},
		{"fresh: sleep until the refresh", func(*Input) {}, func(in Input) Decision {
			return Decision{Usable: true, RefreshAt: refreshAt(in), Wake: refreshAt(in)}
		}},
		{"due: mint, and wake at the expiry if that fails", isDue, func(in Input) Decision {
			return Decision{Mint: true, Counts: true, MintReason: MintDue, Usable: true, RefreshAt: refreshAt(in), Wake: expiry(in)}
		}},
		{"due, and nobody has touched it: the rates do not matter", func(in *Input) {
			isDue(in)
			in.Undisturbed, in.NotBefore = true, noon.Add(minute)
		}, func(in Input) Decision {
			return Decision{Mint: true, MintReason: MintDue, Usable: true, RefreshAt: refreshAt(in), Wake: expiry(in)}
		}},
		{"due after a failure: the rates are kept", func(in *Input) {
			isDue(in)
			in.NotBefore = noon.Add(2 * time.Second)
		}, func(in Input) Decision {
			return Decision{MintReason: MintDue, Usable: true, RefreshAt: refreshAt(in), Wake: noon.Add(2 * time.Second)}
		}},
		{"requested too often: wait", func(in *Input) {
			in.Request, in.Undisturbed, in.NotBefore = "again", true, noon.Add(2*time.Second)
		}, func(in Input) Decision {
			return Decision{MintReason: MintRequested, Usable: true, RefreshAt: refreshAt(in), Wake: noon.Add(2 * time.Second)}
		}},
		{"a check of another spec, too often: wait", func(in *Input) {
			hour(in)
			in.Check, in.NotBefore = &Check{Interval: 10 * minute, LastAt: noon, Unconfirmed: true}, noon.Add(2*time.Second)
		}, func(in Input) Decision {
			return Decision{Usable: true, RefreshAt: refreshAt(in), Wake: noon.Add(2 * time.Second)}
		}},
		{"expired: mint", isExpired, func(in Input) Decision {
			return Decision{Mint: true, Counts: true, MintReason: MintDue, UnusableReason: v1alpha1.ReasonTokenExpired, RefreshAt: refreshAt(in)}
		}},
		{"refused a moment ago: wait for the end of the backoff", func(in *Input) {
			in.Held, in.Failure = nil, failed(noon.Add(-time.Second), v1alpha1.ReasonClientRejected)
		}, func(in Input) Decision {
			return Decision{MintReason: MintMissing, UnusableReason: v1alpha1.ReasonPending, Wake: wait(in, in.Failure)}
		}},
		{"refused while the token lives: it stays usable", func(in *Input) {
			isDue(in)
			in.Failure = failed(noon.Add(-time.Second), v1alpha1.ReasonClientRejected)
		}, func(in Input) Decision {
			return Decision{MintReason: MintDue, Usable: true, RefreshAt: refreshAt(in), Wake: wait(in, in.Failure)}
		}},
		{"the expiry comes before the end of the backoff: wake for it", func(in *Input) {
			in.Held = held(noon.Add(-295*time.Second), 300*time.Second)
			in.Failure = failed(noon, v1alpha1.ReasonClientRejected)
		}, func(in Input) Decision {
			return Decision{MintReason: MintDue, Usable: true, RefreshAt: refreshAt(in), Wake: expiry(in)}
		}},
		{"the backoff is over: mint", func(in *Input) {
			in.Held, in.Failure = nil, failed(noon.Add(-minute), v1alpha1.ReasonClientRejected)
		}, func(Input) Decision {
			return Decision{Mint: true, Counts: true, MintReason: MintMissing, UnusableReason: v1alpha1.ReasonPending}
		}},
		{"a failure does not hurry a token that is not due", func(in *Input) {
			in.Failure = failed(noon.Add(-minute), v1alpha1.ReasonIssuerUnreachable)
		}, func(in Input) Decision {
			return Decision{Usable: true, RefreshAt: refreshAt(in), Wake: refreshAt(in)}
		}},
		{"stalled without a token: no timer, the watch wakes us", func(in *Input) {
			in.Held, in.Failure = nil, failed(noon.Add(-24*time.Hour), v1alpha1.ReasonCredentialMissing)
		}, func(Input) Decision {
			return Decision{MintReason: MintMissing, UnusableReason: v1alpha1.ReasonPending}
		}},
		{"stalled with a token: wake only to say that it has expired", func(in *Input) {
			isDue(in)
			in.Failure = failed(noon, v1alpha1.ReasonIssuerNotFound)
		}, func(in Input) Decision {
			return Decision{MintReason: MintDue, Usable: true, RefreshAt: refreshAt(in), Wake: expiry(in)}
		}},
		{"suspended: nothing is minted or checked, the expiry is told", func(in *Input) {
			isDue(in)
			in.Suspended, in.Check = true, settled(time.Time{})
		}, func(in Input) Decision {
			return Decision{Usable: true, RefreshAt: refreshAt(in), Wake: expiry(in)}
		}},
		{"suspended without a token: nothing at all", func(in *Input) { in.Held, in.Suspended = nil, true }, func(Input) Decision {
			return Decision{UnusableReason: v1alpha1.ReasonPending}
		}},
		{"the check comes before the refresh: wake for it", func(in *Input) {
			hour(in)
			in.Check = settled(noon.Add(-minute))
		}, func(in Input) Decision {
			return Decision{Usable: true, RefreshAt: refreshAt(in), Wake: noon.Add(9 * minute)}
		}},
		{"the check is due", func(in *Input) {
			hour(in)
			in.Check = settled(noon.Add(-10 * minute))
		}, func(in Input) Decision {
			return Decision{Check: true, Usable: true, RefreshAt: refreshAt(in), Wake: refreshAt(in)}
		}},
		{"a new token is checked as it is minted, not twice", func(in *Input) {
			isDue(in)
			in.Check = settled(time.Time{})
		}, func(in Input) Decision {
			return Decision{Mint: true, Counts: true, MintReason: MintDue, Usable: true, RefreshAt: refreshAt(in), Wake: expiry(in)}
		}},
		{"an unsettled check is made at once, whatever the interval", func(in *Input) {
			hour(in)
			in.Check = &Check{Interval: 10 * minute, LastAt: noon, Unconfirmed: true}
		}, func(in Input) Decision {
			return Decision{Check: true, Counts: true, Usable: true, RefreshAt: refreshAt(in), Wake: refreshAt(in)}
		}},
		{"an unsettled check waits for its backoff", func(in *Input) {
			hour(in)
			in.Check = &Check{Interval: 10 * minute, Unconfirmed: true, Failure: failed(noon, v1alpha1.ReasonNextcloudUnreachable)}
		}, func(in Input) Decision {
			return Decision{Usable: true, RefreshAt: refreshAt(in), Wake: wait(in, in.Check.Failure)}
		}},
		{"an unsettled check is made again after its backoff", func(in *Input) {
			hour(in)
			in.Check = &Check{Interval: 10 * minute, Unconfirmed: true, Failure: failed(noon.Add(-5*time.Second), v1alpha1.ReasonNextcloudUnreachable)}
		}, func(in Input) Decision {
			return Decision{Check: true, Counts: true, Usable: true, RefreshAt: refreshAt(in), Wake: refreshAt(in)}
		}},
		{"a held token is checked while its refresh waits", func(in *Input) {
			isDue(in)
			in.Failure, in.Check = failed(noon, v1alpha1.ReasonIssuerUnreachable), settled(noon.Add(-minute*10))
		}, func(in Input) Decision {
			return Decision{MintReason: MintDue, Check: true, Usable: true, RefreshAt: refreshAt(in), Wake: wait(in, in.Failure)}
		}},
		{"an expired token is not checked", func(in *Input) {
			isExpired(in)
			in.Failure, in.Check = failed(noon, v1alpha1.ReasonIssuerUnreachable), settled(time.Time{})
		}, func(in Input) Decision {
			return Decision{MintReason: MintDue, UnusableReason: v1alpha1.ReasonTokenExpired, RefreshAt: refreshAt(in), Wake: wait(in, in.Failure)}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := changed(tc.change)
			if diff := cmp.Diff(tc.want(in), Decide(in)); diff != "" {
				t.Errorf("decision (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDelay(t *testing.T) {
	for _, tc := range []struct {
		name string
		wake time.Time
		want time.Duration
	}{
		{"nothing to wait for", time.Time{}, 0},
		{"an hour", noon.Add(time.Hour), time.Hour},
		{"half a second is a whole one", noon.Add(500 * time.Millisecond), time.Second},
		{"now is a second, not the zero that means never", noon, time.Second},
		{"the past is a second", noon.Add(-time.Hour), time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := (Decision{Wake: tc.wake}).Delay(noon); got != tc.want {
				t.Errorf("delay %s, want %s", got, tc.want)
			}
		})
	}
}

// TestAWeekOfRefreshes lives through many tokens as the controller does: it acts at every wake-up and counts the mints.
func TestAWeekOfRefreshes(t *testing.T) {
	for _, life := range []time.Duration{15 * time.Second, 5 * time.Minute, time.Hour} {
		t.Run(life.String(), func(t *testing.T) {
			in := changed(func(in *Input) { in.Held = nil })
			var mints, wakes int
			for end := noon.Add(200 * life); in.Now.Before(end); wakes++ {
				d := Decide(in)
				if d.Mint {
					mints++
					in.Held = held(in.Now.Truncate(time.Second), life)
					d = Decide(in)
				}
				if !d.Usable {
					t.Fatalf("at %s the token is not usable: %s", in.Now, d.UnusableReason)
				}
				if d.Mint {
					t.Fatalf("at %s the token that was just minted is due: %s", in.Now, d.MintReason)
				}
				in.Now = in.Now.Add(d.Delay(in.Now))
			}
			// A token is used for 57 to 67 percent of its life, and a second less for whole seconds.
			if low, high := 295, 380; mints < low || mints > high || wakes != mints {
				t.Errorf("%d mints in %d wake-ups over 200 lives, want %d to %d and no wake-up without a mint", mints, wakes, low, high)
			}
		})
	}
}
