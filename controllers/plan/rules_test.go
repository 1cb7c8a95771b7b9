package plan

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// noon is the time of every test that has only one.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// held is a record of a token that was minted for the inputs of fresh.
func held(issued time.Time, life time.Duration) *Record {
	return &Record{
		Token:      v1alpha1.TokenStatus{IssuedAt: metav1.NewTime(issued), ExpiresAt: metav1.NewTime(issued.Add(life))},
		Inputs:     "token-1",
		Credential: "credential-1",
		Request:    "request-1",
	}
}

// fresh is the input of a grant at rest: a token of 300 s that was minted ten seconds ago, for what is asked for now.
func fresh() Input {
	return Input{
		Now:     noon,
		UID:     "uid-1",
		Inputs:  Inputs{Token: "token-1", Credential: "credential-1"},
		Request: "request-1",
		Held:    held(noon.Add(-10*time.Second), 300*time.Second),
	}
}

func changed(change func(*Input)) Input {
	in := fresh()
	change(&in)
	return in
}

func isDue(in *Input)     { in.Held = held(noon.Add(-250*time.Second), 300*time.Second) }
func isExpired(in *Input) { in.Held = held(noon.Add(-300*time.Second), 300*time.Second) }

func TestWhyATokenIsMinted(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*Input)
		want   string
	}{
		{"a fresh token is kept", func(*Input) {}, ""},
		{"without a token one is missing", func(in *Input) { in.Held = nil }, MintMissing},
		{"damaged data that memory cannot restore are lost", func(in *Input) { in.Lost = true }, MintLost},
		{"another audience asks for another token", func(in *Input) { in.Inputs.Token = "token-2" }, MintInputsChanged},
		{"a corrected client secret is tried at once", func(in *Input) { in.Inputs.Credential = "credential-2" }, MintCredentialChanged},
		{"a new value of the annotation is a request", func(in *Input) { in.Request = "request-2" }, MintRequested},
		{"a removed annotation is no request", func(in *Input) { in.Request = "" }, ""},
		{"an annotation on a token that answered none is a request", func(in *Input) { in.Held.Request = "" }, MintRequested},
		{"past the refresh time a token is due", isDue, MintDue},
		{"an expired token is due", isExpired, MintDue},
		{"a due token of a changed spec is told as changed", func(in *Input) { isDue(in); in.Inputs.Token = "token-2" }, MintInputsChanged},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := first(mint, changed(tc.change)); got != tc.want {
				t.Errorf("mint reason %q, want %q", got, tc.want)
			}
		})
	}
}

// TestOrderOfMintRules starts with every rule applying and takes one cause away after the other.
func TestOrderOfMintRules(t *testing.T) {
	in := Input{Now: noon, UID: "uid-1", Inputs: Inputs{Token: "token-2", Credential: "credential-2"}, Request: "request-2", Lost: true, Rejected: true}
	var got []string
	for _, cure := range []func(){
		func() {},
		func() { in.Held = held(noon.Add(-time.Hour), 300*time.Second) },
		func() { in.Lost = false },
		func() { in.Inputs.Token = in.Held.Inputs },
		func() { in.Inputs.Credential = in.Held.Credential },
		func() { in.Request = in.Held.Request },
		func() { in.Rejected = false },
		func() { in.Held = fresh().Held },
	} {
		cure()
		got = append(got, first(mint, in))
	}
	want := []string{MintMissing, MintLost, MintInputsChanged, MintCredentialChanged, MintRequested, MintRejected, MintDue, ""}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
	if len(mint) != len(want)-1 {
		t.Errorf("the list has %d rules, this test knows %d", len(mint), len(want)-1)
	}
}

func TestWhetherATokenIsUsable(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*Input)
		want   v1alpha1.Reason
	}{
		{"a fresh token is usable", func(*Input) {}, ""},
		{"a token that is due is usable", isDue, ""},
		{"a changed credential does not make the held token wrong", func(in *Input) { in.Inputs.Credential = "credential-2" }, ""},
		{"a request for a new token does not make the held one wrong", func(in *Input) { in.Request = "request-2" }, ""},
		{"a suspended grant's token is usable", func(in *Input) { in.Suspended = true }, ""},
		{"a failed refresh does not make the held token wrong", func(in *Input) {
			in.Failure = &Failure{At: noon, Reason: v1alpha1.ReasonClientRejected, Count: 9}
		}, ""},
		{"without a token nothing is usable", func(in *Input) { in.Held = nil }, v1alpha1.ReasonPending},
		{"lost data are not usable", func(in *Input) { in.Lost = true }, v1alpha1.ReasonPending},
		{"a token for another audience is not usable", func(in *Input) { in.Inputs.Token = "token-2" }, v1alpha1.ReasonPending},
		{"at the very second of its expiry a token is not usable", isExpired, v1alpha1.ReasonTokenExpired},
		{"an expired token of a changed spec is told as pending", func(in *Input) { isExpired(in); in.Inputs.Token = "token-2" }, v1alpha1.ReasonPending},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := first(usable, changed(tc.change)); got != tc.want {
				t.Errorf("reason %q, want %q", got, tc.want)
			}
		})
	}
}

func TestOrderOfUsableRules(t *testing.T) {
	in := Input{Now: noon, UID: "uid-1", Inputs: Inputs{Token: "token-2"}, Lost: true}
	var got []v1alpha1.Reason
	for _, cure := range []func(){
		func() {},
		func() { in.Held = held(noon.Add(-time.Hour), 300*time.Second) },
		func() { in.Lost = false },
		func() { in.Inputs.Token = in.Held.Inputs },
		func() { in.Held = fresh().Held },
	} {
		cure()
		got = append(got, first(usable, in))
	}
	want := []v1alpha1.Reason{
		v1alpha1.ReasonPending, v1alpha1.ReasonPending, v1alpha1.ReasonPending, v1alpha1.ReasonTokenExpired, "",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
	if len(usable) != len(want)-1 {
		t.Errorf("the list has %d rules, this test knows %d", len(usable), len(want)-1)
	}
}

func TestHandlingOfReasons(t *testing.T) {
	for _, tc := range []struct {
		name    string
		want    Handling
		reasons []v1alpha1.Reason
	}{
		{"no answer is tried again soon", Retry, []v1alpha1.Reason{
			v1alpha1.ReasonIssuerUnreachable, v1alpha1.ReasonThrottled, v1alpha1.ReasonNextcloudUnreachable,
			v1alpha1.ReasonNextcloudMaintenance, v1alpha1.ReasonSecretNotWritten,
		}},
		{"what is missing in the cluster waits for a watch", Stalled, []v1alpha1.Reason{
			v1alpha1.ReasonInvalidSpec, v1alpha1.ReasonIssuerNotFound, v1alpha1.ReasonIssuerNotReady,
			v1alpha1.ReasonNotAllowed, v1alpha1.ReasonCredentialMissing, v1alpha1.ReasonSecretConflict,
		}},
		{"a refused login waits for its Secret, because another try may shut everybody out", Stalled, []v1alpha1.Reason{v1alpha1.ReasonCredentialRejected}},
		{"a server that said no is asked again slowly, because no watch tells of its cure", Refused, []v1alpha1.Reason{
			v1alpha1.ReasonClientRejected, v1alpha1.ReasonServiceAccountDisabled, v1alpha1.ReasonGrantTypeUnsupported,
			v1alpha1.ReasonExchangeNotEnabled, v1alpha1.ReasonAudienceNotAvailable, v1alpha1.ReasonScopeInvalid,
			v1alpha1.ReasonSubjectTokenInvalid, v1alpha1.ReasonRequestRefused, v1alpha1.ReasonIssuerInvalid,
			v1alpha1.ReasonTokenMalformed, v1alpha1.ReasonTokenNotVerified, v1alpha1.ReasonTokenWrongAudience,
			v1alpha1.ReasonNextcloudRejected, v1alpha1.ReasonNextcloudWrongUser, v1alpha1.ReasonNextcloudForbidden,
		}},
		{"a reason nobody knows is asked about again slowly", Refused, []v1alpha1.Reason{"SomethingNew"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, reason := range tc.reasons {
				if got := HandlingOf(reason); got != tc.want {
					t.Errorf("%s: handling %d, want %d", reason, got, tc.want)
				}
			}
		})
	}
}
