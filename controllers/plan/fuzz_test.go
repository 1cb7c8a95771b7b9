package plan

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// FuzzDecide looks for an input that breaks a promise of the schedule. Values are those that can reach Decide: a
// record has a life of at least a second, and the margins are within the bounds of the CRD.
func FuzzDecide(f *testing.F) {
	f.Add(int64(10), int64(300), int64(0), int32(0), uint16(0), uint8(0), int64(0), int32(1), int64(0))
	f.Add(int64(250), int64(300), int64(100), int32(0), uint16(0xff), uint8(3), int64(-5), int32(1000), int64(3600))
	f.Add(int64(-10), int64(1), int64(0), int32(50), uint16(0x55), uint8(9), int64(5), int32(0), int64(-1))
	f.Add(int64(1<<40), int64(1<<40), int64(1<<40), int32(-1), uint16(0xaaaa), uint8(255), int64(1<<40), int32(-1), int64(1<<40))
	f.Fuzz(func(t *testing.T, age, life, before int64, share int32, flags uint16, reason uint8, failedAgo int64, count int32, retryAfter int64) {
		in := fuzzed(age, life, before, share, flags, reason, failedAgo, count, retryAfter)
		d := Decide(in)
		if diff := cmp.Diff(d, Decide(in)); diff != "" {
			t.Errorf("two decisions about one input:\n%s", diff)
		}
		checkPromises(t, in, d)
	})
}

// FuzzRecord: the annotation may be edited by anybody who may edit the Secret. Whatever is taken for a record comes back when
// it is written, and no schedule breaks over it.
func FuzzRecord(f *testing.F) {
	recorded := Record{
		Token:  v1alpha1.TokenStatus{Subject: "s", Audiences: []string{"nextcloud"}, IssuedAt: metav1.NewTime(noon), ExpiresAt: metav1.NewTime(noon.Add(time.Minute))},
		Inputs: "token-1", Credential: "credential-1", Shape: "s", Request: "r", KeyID: "k",
	}
	annotation, err := recorded.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(annotation), int64(0))
	for _, times := range [][2]string{
		{"2026-11-23T12:00:00Z", "2026-11-23T12:00:00.5Z"},
		{"2026-11-23T12:00:00.999999999Z", "2026-11-23T12:00:01Z"},
		{"0001-01-01T00:00:01Z", "9999-12-31T23:59:59Z"},
		{"2026-11-23T12:00:00+14:00", "2026-11-23T12:00:00-12:00"},
		{"9999-12-31T23:59:58Z", "9999-12-31T23:59:59Z"},
	} {
		f.Add(`{"token":{"issuedAt":"`+times[0]+`","expiresAt":"`+times[1]+`"},"inputs":"token-1"}`, int64(1))
	}
	f.Add(`{"token":{"issuedAt":"2026-11-23T12:00:00Z"},"name":"tokengrant apps/g"}`, int64(-1))
	f.Fuzz(func(t *testing.T, annotation string, later int64) {
		r, err := ParseRecord(annotation)
		if err != nil {
			return
		}
		written, err := r.Marshal()
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again, err := ParseRecord(string(written))
		if err != nil || !again.SameMint(*r) {
			t.Fatalf("%s became %s: %v", annotation, written, err)
		}
		const tenYears = int64(10 * year / time.Second)
		in := Input{
			Now: noon.Add(seconds(later, -tenYears, tenYears)), UID: "uid-1", Held: r, Inputs: Inputs{Token: "token-1", Credential: "credential-1"},
			RotateAfter: time.Hour,
		}
		d := Decide(in)
		if diff := cmp.Diff(d, Decide(in)); diff != "" {
			t.Errorf("two decisions about one record:\n%s", diff)
		}
		if r.Name == "" {
			checkPromises(t, in, d)
		}
	})
}

func checkPromises(t *testing.T, in Input, d Decision) {
	t.Helper()
	if delay := d.Delay(in.Now); delay != 0 && delay < time.Second {
		t.Errorf("delay %s is a hot loop", delay)
	}
	if !d.Wake.IsZero() && !d.Wake.After(in.Now) {
		t.Errorf("wake at %s, which is not after %s", d.Wake, in.Now)
	}
	if d.Usable != (d.UnusableReason == "") {
		t.Errorf("usable %t with reason %q", d.Usable, d.UnusableReason)
	}
	if d.Usable && (in.Held == nil || !in.Now.Before(in.Held.Token.ExpiresAt.Time) || in.Held.Inputs != in.Inputs.Token) {
		t.Error("a token that is missing, expired or of another spec is called usable")
	}
	if d.Usable && d.Wake.After(in.Held.Token.ExpiresAt.Time) {
		t.Error("nobody wakes when the token expires")
	}
	if d.Check && (d.Mint || !d.Usable || in.Check == nil) {
		t.Error("a check of nothing, or beside a mint")
	}
	if (d.Mint || d.Check) && in.Suspended {
		t.Error("a suspended grant acts")
	}
	stalled := in.Failure != nil && HandlingOf(in.Failure.Reason) == Stalled
	if d.Mint && stalled {
		t.Error("a mint while something is missing")
	}
	if d.MintReason != "" && !d.Mint && !stalled && d.Wake.IsZero() {
		t.Error("a mint is due, and nobody will wake for it")
	}
	if in.Held != nil && !d.RefreshAt.After(in.Held.Token.IssuedAt.Time) {
		t.Error("the refresh is not after the mint")
	}
}

func fuzzed(age, life, before int64, share int32, flags uint16, reason uint8, failedAgo int64, count int32, retryAfter int64) Input {
	const tenYears = int64(10 * year / time.Second)
	flag := func(i int) bool { return flags>>i&1 == 1 }
	issued := noon.Add(-seconds(age, -tenYears, tenYears))
	in := Input{Now: noon, UID: "uid-1", Suspended: flag(0), Lost: flag(1), Inputs: Inputs{Token: "token-1", Credential: "credential-1"}}
	if !flag(2) {
		in.Held = held(issued, seconds(life, 1, tenYears))
	}
	if flag(3) {
		in.Inputs.Token = "token-2"
	}
	if flag(4) {
		in.Inputs.Credential = "credential-2"
	}
	if flag(5) {
		in.Request = "request-2"
	}
	if flag(6) {
		in.Refresh.Before = &metav1.Duration{Duration: seconds(before, 1, 24*3600)}
	} else if flag(7) {
		share = 5 + share&0x7fffffff%46
		in.Refresh.BeforePercentage = &share
	}
	reasons := []v1alpha1.Reason{
		v1alpha1.ReasonIssuerUnreachable, v1alpha1.ReasonThrottled, v1alpha1.ReasonClientRejected, v1alpha1.ReasonCredentialMissing,
		v1alpha1.ReasonNextcloudRejected, v1alpha1.ReasonInvalidSpec, "", "SomethingNew",
	}
	failure := &Failure{
		At: noon.Add(-seconds(failedAgo, -tenYears, tenYears)), Reason: reasons[int(reason)%len(reasons)], Count: count,
		RetryAfter: seconds(retryAfter, -tenYears, tenYears),
	}
	if flag(8) {
		in.Failure = failure
	}
	if flag(9) {
		in.Check = &Check{Interval: 10 * time.Minute, LastAt: issued, Unconfirmed: flag(10)}
		if flag(11) {
			in.Check.Failure = failure
		}
	}
	return in
}

func seconds(n, least, most int64) time.Duration {
	return time.Duration(min(max(n, least), most)) * time.Second
}
