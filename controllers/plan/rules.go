package plan

import "github.com/tokengrant/tokengrant/api/v1alpha1"

// A rule gives the reason for which it applies, or "". The first rule of a list that applies wins, and a rule may
// rely on those before it having not applied.
type rule func(Input) string

// Why a token is minted.
const (
	MintMissing           = "Missing"
	MintLost              = "Lost"
	MintInputsChanged     = "InputsChanged"
	MintCredentialChanged = "CredentialChanged"
	MintRequested         = "Requested"
	MintRejected          = "Rejected"
	MintDue               = "Due"
)

// Two lists for two questions. "Mint now?" is not "is what we hold unusable?": a refresh that fails, or a credential
// that has changed, must not take Ready away while the held token lives.
var (
	mint = []rule{
		when(missing, MintMissing),
		when(lost, MintLost),
		when(inputsChanged, MintInputsChanged),
		when(credentialChanged, MintCredentialChanged),
		when(requested, MintRequested),
		when(rejected, MintRejected),
		when(due, MintDue),
	}
	usable = []rule{
		when(missing, v1alpha1.ReasonPending),
		when(lost, v1alpha1.ReasonPending),
		when(inputsChanged, v1alpha1.ReasonPending),
		when(expired, v1alpha1.ReasonTokenExpired),
	}
)

func missing(in Input) bool           { return in.Held == nil }
func lost(in Input) bool              { return in.Lost }
func inputsChanged(in Input) bool     { return in.Held.Inputs != in.Inputs.Token }
func credentialChanged(in Input) bool { return in.Held.Credential != in.Inputs.Credential }
func requested(in Input) bool         { return in.Request != "" && in.Request != in.Held.Request }
func rejected(in Input) bool          { return in.Rejected && !in.Now.Before(in.remakeAt()) }
func expired(in Input) bool           { return in.Held.Expired(in.Now) }
func due(in Input) bool {
	return !in.Now.Before(in.Held.RefreshAt(in.UID, in.Refresh, in.RotateAfter))
}

func when(applies func(Input) bool, reason string) rule {
	return func(in Input) string {
		if applies(in) {
			return reason
		}
		return ""
	}
}

func first(rules []rule, in Input) string {
	for _, r := range rules {
		if reason := r(in); reason != "" {
			return reason
		}
	}
	return ""
}

// Handling says who must act before another try can help.
type Handling int

const (
	// Refused: a server said no. The cure happens there and no watch tells us, so we ask again, slowly.
	Refused Handling = iota
	// Retry: no answer, or one that says "later": backoff.
	Retry
	// Stalled: an object in the cluster is missing or wrong. No timer; a watch wakes us.
	Stalled
)

// HandlingOf gives the handling of a failure.
func HandlingOf(reason v1alpha1.Reason) Handling {
	switch reason {
	case v1alpha1.ReasonIssuerUnreachable, v1alpha1.ReasonThrottled,
		v1alpha1.ReasonNextcloudUnreachable, v1alpha1.ReasonNextcloudMaintenance, v1alpha1.ReasonSecretNotWritten:
		return Retry
	case v1alpha1.ReasonPending, v1alpha1.ReasonInvalidSpec, v1alpha1.ReasonIssuerNotFound, v1alpha1.ReasonIssuerNotReady,
		v1alpha1.ReasonNotAllowed, v1alpha1.ReasonCredentialMissing, v1alpha1.ReasonCredentialRejected, v1alpha1.ReasonSecretConflict,
		v1alpha1.ReasonFieldUnknown:
		return Stalled
	default:
		return Refused
	}
}
