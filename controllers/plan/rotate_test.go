package plan

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// heldPassword is the input of a grant at rest, with an app password of an age.
func heldPassword(age time.Duration, change ...func(*Input)) Input {
	in := fresh()
	in.RotateAfter = 720 * time.Hour
	in.Held = &Record{
		Token: v1alpha1.TokenStatus{Username: "alice", IssuedAt: metav1.NewTime(noon.Add(-age))}, Name: "tokengrant apps/g",
		Inputs: in.Inputs.Token, Credential: in.Inputs.Credential, Request: in.Request,
	}
	for _, f := range change {
		f(&in)
	}
	return in
}

func TestAppPasswordsHaveAnAgeAndNoEnd(t *testing.T) {
	for _, tc := range []struct {
		name string
		in   Input
		want string // why another is made
		wake time.Duration
	}{
		{"a new one is kept", heldPassword(time.Minute), "", 0},
		{"at its age it is due", heldPassword(720 * time.Hour), MintDue, 0},
		{"years after nobody came to replace it, it is due and still usable", heldPassword(5 * year), MintDue, 0},
		{"one that Nextcloud does not take any more is replaced", heldPassword(time.Hour, isRejected), MintRejected, 0},
		{"and not sooner than ten minutes after it was made", heldPassword(time.Minute, isRejected), "", RemakeAfter - time.Minute},
		{"what was replaced is ended later", heldPassword(time.Minute, func(in *Input) { in.RetireAt = noon.Add(v1alpha1.DefaultOverlap) }), "", v1alpha1.DefaultOverlap},
		{"what was replaced is ended now, and looked at again", heldPassword(time.Minute, func(in *Input) { in.RetireAt = noon }), "", time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := Decide(tc.in)
			if d.MintReason != tc.want || d.Mint != (tc.want != "") {
				t.Errorf("mint %t because of %q, want %q", d.Mint, d.MintReason, tc.want)
			}
			if !d.Usable {
				t.Errorf("not usable: %s", d.UnusableReason)
			}
			if tc.wake != 0 && !d.Wake.Equal(noon.Add(tc.wake)) {
				t.Errorf("wake at %s, want in %s", d.Wake, tc.wake)
			}
			if retire := !tc.in.RetireAt.IsZero() && !tc.in.RetireAt.After(noon); d.Retire != retire {
				t.Errorf("retire %t, want %t", d.Retire, retire)
			}
			if !d.Mint && d.Wake.IsZero() {
				t.Error("nobody wakes for the rotation")
			}
		})
	}
}

func isRejected(in *Input) { in.Rejected = true }

func TestASuspendedGrantEndsNothing(t *testing.T) {
	d := Decide(heldPassword(time.Hour, isRejected, func(in *Input) { in.Suspended, in.RetireAt = true, noon }))
	if d.Retire || d.Mint || !d.Wake.IsZero() {
		t.Errorf("%+v", d)
	}
}

// TestJitterOfRotations: never late, at most a tenth early, and not all at once.
func TestJitterOfRotations(t *testing.T) {
	const after = 720 * time.Hour
	seen := map[time.Time]bool{}
	for i := range 1000 {
		at := RotateAt(fmt.Sprint("uid-", i), noon, after)
		if early := noon.Add(after).Sub(at); early < 0 || early > after/10+time.Second {
			t.Fatalf("rotation %s before its time", early)
		}
		seen[at.Truncate(time.Hour)] = true
	}
	if len(seen) < 60 {
		t.Errorf("1000 rotations fall into %d of 72 hours", len(seen))
	}
}

func TestRecordsOfAppPasswords(t *testing.T) {
	r, err := ParseRecord(`{"token":{"username":"alice","issuedAt":"2026-11-23T12:00:00Z"},"inputs":"i","name":"tokengrant apps/g"}`)
	if err != nil {
		t.Fatal(err)
	}
	if r.Expired(noon.Add(10 * year)) {
		t.Error("it has expired")
	}
	other := *r
	other.Name = "another"
	if r.SameMint(other) {
		t.Error("two app passwords are taken for one")
	}
}
