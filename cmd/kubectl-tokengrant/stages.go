package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// The stages of a grant, in their order.
const (
	stageIssuer       = "issuer"
	stageAuthenticate = "authenticate"
	stageMint         = "mint"
	stageExchange     = "exchange"
	stageVerify       = "verify"
	stageCheck        = "check"
	stagePublish      = "publish"
	stageSchedule     = "schedule"
)

var stageNames = []string{
	stageIssuer, stageAuthenticate, stageMint, stageExchange, stageVerify, stageCheck, stagePublish, stageSchedule,
}

// stageUnknown is that of a reason which this plugin does not know: a newer operator's.
const stageUnknown = "unknown"

// stageLogin is in the place of the first five where Nextcloud itself makes the credential.
const stageLogin = "login"

var stageNamesOfAppPasswords = []string{stageLogin, stageCheck, stagePublish, stageSchedule}

func stagesOf(g *v1alpha1.TokenGrant) []string {
	if g.Spec.AppPassword != nil {
		return stageNamesOfAppPasswords
	}
	return stageNames
}

// stageAt is the stage of a grant at which a reason stops it; stageUnknown for a reason that is not in the catalogue. What keeps an app password from being made, an
// unreachable Nextcloud for example, stops it at the login.
func stageAt(g *v1alpha1.TokenGrant, reason v1alpha1.Reason) string {
	at, known := stageOfReason[reason]
	switch {
	case !known:
		return stageUnknown
	case g.Spec.AppPassword == nil:
		return at
	}
	switch reason {
	case v1alpha1.ReasonNextcloudRejected, v1alpha1.ReasonNextcloudWrongUser, v1alpha1.ReasonNextcloudForbidden,
		v1alpha1.ReasonSecretConflict, v1alpha1.ReasonSecretNotWritten, v1alpha1.ReasonSuspended:
		return at
	}
	return stageLogin
}

// stage is one of them, as it is now.
type stage struct {
	Name   string `json:"name"`
	State  string `json:"state"`
	Detail string `json:"detail,omitempty"`
}

// stageOfReason says at which stage a reason stops a grant: every reason of the catalogue, so that others are known to be new.
var stageOfReason = map[v1alpha1.Reason]string{
	v1alpha1.ReasonInvalidSpec: stageIssuer, v1alpha1.ReasonIssuerNotFound: stageIssuer, v1alpha1.ReasonIssuerNotReady: stageIssuer,
	v1alpha1.ReasonIssuerUnreachable: stageIssuer, v1alpha1.ReasonIssuerInvalid: stageIssuer, v1alpha1.ReasonNotAllowed: stageIssuer,
	v1alpha1.ReasonThrottled: stageIssuer, v1alpha1.ReasonPending: stageIssuer, v1alpha1.ReasonFieldUnknown: stageIssuer,
	v1alpha1.ReasonDiscovered: stageIssuer,

	v1alpha1.ReasonCredentialMissing: stageAuthenticate, v1alpha1.ReasonClientRejected: stageAuthenticate,

	v1alpha1.ReasonServiceAccountDisabled: stageMint, v1alpha1.ReasonGrantTypeUnsupported: stageMint, v1alpha1.ReasonScopeInvalid: stageMint,
	v1alpha1.ReasonReloginRequired: stageMint, v1alpha1.ReasonEncryptionKeyMissing: stageMint, v1alpha1.ReasonRequestRefused: stageMint,

	v1alpha1.ReasonExchangeNotEnabled: stageExchange, v1alpha1.ReasonAudienceNotAvailable: stageExchange,
	v1alpha1.ReasonNotInSubjectAudience: stageExchange, v1alpha1.ReasonSubjectTokenInvalid: stageExchange,
	v1alpha1.ReasonImpersonationUnsupported: stageExchange, v1alpha1.ReasonImpersonationForbidden: stageExchange,

	v1alpha1.ReasonTokenMalformed: stageVerify, v1alpha1.ReasonTokenNotVerified: stageVerify, v1alpha1.ReasonTokenWrongAudience: stageVerify,

	v1alpha1.ReasonNextcloudRejected: stageCheck, v1alpha1.ReasonNextcloudWrongUser: stageCheck, v1alpha1.ReasonNextcloudForbidden: stageCheck,
	v1alpha1.ReasonNextcloudInvalid: stageCheck, v1alpha1.ReasonNextcloudUnreachable: stageCheck, v1alpha1.ReasonNextcloudMaintenance: stageCheck,
	v1alpha1.ReasonCredentialRejected: stageCheck, v1alpha1.ReasonNextcloudAccepted: stageCheck,

	v1alpha1.ReasonSecretConflict: stagePublish, v1alpha1.ReasonSecretNotWritten: stagePublish, v1alpha1.ReasonPublished: stagePublish,

	v1alpha1.ReasonTokenExpired: stageSchedule, v1alpha1.ReasonSuspended: stageSchedule, v1alpha1.ReasonNotRevoked: stageSchedule,
	v1alpha1.ReasonTokenLifetimeTooShort: stageSchedule, v1alpha1.ReasonTokenLifetimeSufficient: stageSchedule,
}

// stoppedAt says at which stage a grant stands, and why; "" when it went through to the end.
func stoppedAt(g *v1alpha1.TokenGrant) (at, why string) {
	s := g.Status
	var reason, message string
	ready := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionReady)
	switch {
	case s.ConsecutiveFailures > 0 && s.LastAttempt != nil:
		reason, message = s.LastAttempt.Reason, s.LastAttempt.Message
	case ready == nil:
		return stagesOf(g)[0], "the operator has not looked at it yet"
	case ready.Status != metav1.ConditionTrue:
		reason, message = ready.Reason, ready.Message
	default:
		return "", ""
	}
	at = stageAt(g, reason)
	if reason == v1alpha1.ReasonSuspended && s.Token == nil {
		at = stagesOf(g)[0]
	}
	e := g.Spec.Exchange
	if e != nil && (reason == v1alpha1.ReasonGrantTypeUnsupported || reason == v1alpha1.ReasonScopeInvalid && len(g.Spec.Scopes) == 0) {
		at = stageExchange
	}
	return at, reason + ": " + message
}

// stages describes each stage of the line. Publish and schedule tell of the token that the Secret holds, which a
// failure of the next one leaves as it is.
func (v *grantView) stages(g *v1alpha1.TokenGrant, now time.Time) []stage {
	at, why := stoppedAt(g)
	names := stagesOf(g)
	if at == stageUnknown {
		return v.stagesBefore(g, why, now)
	}
	list := make([]stage, len(names))
	for i, name := range names {
		list[i] = stage{Name: name, State: stateOK}
		switch {
		case name == at && at == names[0] && strings.HasPrefix(why, v1alpha1.ReasonPending), name == at && len(g.Status.Conditions) == 0:
			list[i].State, list[i].Detail = stateWaiting, why
			continue
		case name == at:
			list[i].State, list[i].Detail = stateBroken, why
			continue
		case at != "" && i > slices.Index(names, at) && name != stagePublish && name != stageSchedule:
			list[i].State = stateWaiting
			continue
		}
		v.describe(&list[i], g, now)
	}
	return list
}

// stagesBefore shows a reason that this plugin does not know as it is: nobody can tell here at which stage it stops the grant.
// What is published is known all the same.
func (v *grantView) stagesBefore(g *v1alpha1.TokenGrant, why string, now time.Time) []stage {
	var list []stage
	for _, name := range stagesOf(g) {
		s := stage{Name: name, State: stateOK}
		if name == stagePublish || name == stageSchedule {
			v.describe(&s, g, now)
		} else {
			s.State = stateUnknown
		}
		list = append(list, s)
	}
	return append(list, stage{Name: stageUnknown, State: stateBroken, Detail: why})
}

func (v *grantView) describe(s *stage, g *v1alpha1.TokenGrant, now time.Time) {
	token := g.Status.Token
	if token == nil {
		token = &v1alpha1.TokenStatus{}
	}
	switch s.Name {
	case stageLogin:
		if g.Spec.AppPassword.From.LoginSecretRef == nil {
			return // A member of the union that this plugin does not know.
		}
		s.Detail = fmt.Sprintf("Secret %q", g.Spec.AppPassword.From.LoginSecretRef.Name)
		if token.Username != "" {
			s.Detail = fmt.Sprintf("user %q, Secret %q", token.Username, g.Spec.AppPassword.From.LoginSecretRef.Name)
		}
	case stageIssuer:
		s.Detail = v.issuerDetail(now)
	case stageAuthenticate:
		s.Detail = "as the issuer's own client"
		if g.Spec.ServiceAccount != nil {
			s.Detail = fmt.Sprintf("client %q", g.Spec.ServiceAccount.ClientID)
		} else if token.ClientID != "" {
			s.Detail = fmt.Sprintf("client %q, the issuer's own", token.ClientID)
		}
	case stageMint:
		if token.Username != "" {
			s.Detail = fmt.Sprintf("user %q", token.Username)
		}
	case stageExchange:
		s.Detail = "none: the token has every audience of the client"
		if e := g.Spec.Exchange; e != nil {
			s.Detail = fmt.Sprintf("for %v", e.Audiences)
		}
	case stageVerify:
		s.Detail = fmt.Sprintf("aud %v, scope %v", token.Audiences, token.Scopes)
		if g.Status.Token == nil {
			s.Detail = ""
		}
	case stageCheck:
		describeCheck(s, g, now)
	case stagePublish:
		v.describePublish(s, now)
	case stageSchedule:
		describeSchedule(s, g, now)
	}
}

func (v *grantView) issuerDetail(now time.Time) string {
	text := fmt.Sprintf("%s %q", v.Issuer.Kind, v.Issuer.Name)
	if v.Issuer.URL != "" {
		text += ", " + v.Issuer.URL
	}
	if v.Issuer.LastDiscovery != nil {
		text += ", discovered " + since(now, v.Issuer.LastDiscovery.Time) + " ago"
	}
	return text
}

func describeCheck(s *stage, g *v1alpha1.TokenGrant, now time.Time) {
	c := g.Spec.Check
	if c == nil {
		s.State, s.Detail = stateSkipped, "no spec.check: nobody is asked"
		return
	}
	accepted := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionCheckPassed)
	switch {
	case accepted == nil:
		s.State, s.Detail = stateWaiting, "Nextcloud has not answered yet"
		return
	case accepted.Status == metav1.ConditionFalse:
		s.State, s.Detail = stateBroken, accepted.Reason+": "+accepted.Message
		return
	case accepted.Status == metav1.ConditionUnknown:
		s.State, s.Detail = stateWarning, accepted.Reason+": "+accepted.Message
		return
	}
	s.Detail = accepted.Message
	if n := g.Status.Check; n != nil && n.CheckedAt != nil {
		s.Detail = fmt.Sprintf("user %q, groups %v, asked %s ago", n.User, n.Groups, since(now, n.CheckedAt.Time))
	}
}

func (v *grantView) describePublish(s *stage, now time.Time) {
	switch {
	case v.Secret.Name == "" || v.Secret.Missing:
		s.State, s.Detail = stateWaiting, "there is no Secret"
	case v.Secret.CreatedAt == nil:
		s.Detail = fmt.Sprintf("Secret %q, whose age you may not read", v.Secret.Name)
	default:
		s.Detail = fmt.Sprintf("Secret %q, %s old", v.Secret.Name, since(now, v.Secret.CreatedAt.Time))
	}
}

func describeSchedule(s *stage, g *v1alpha1.TokenGrant, now time.Time) {
	token := g.Status.Token
	if token == nil {
		s.State = stateWaiting
		return
	}
	issued, renewal, renewed := "issued ", "refresh ", "refreshed"
	if g.Spec.AppPassword != nil {
		issued, renewal, renewed = "made ", "rotation ", "rotated"
	}
	parts := []string{issued + since(now, token.IssuedAt.Time) + " ago"}
	switch {
	case g.Spec.Suspend:
		s.State = stateWarning
		parts = append(parts, "not "+renewed+": spec.suspend is true")
	case g.Status.RefreshAt != nil:
		parts = append(parts, renewal+until(now, g.Status.RefreshAt.Time))
	}
	switch {
	case token.ExpiresAt.IsZero():
		parts = append(parts, "does not expire")
	case token.ExpiresAt.Time.Before(now):
		s.State = stateBroken
		parts = append(parts, "expired "+until(now, token.ExpiresAt.Time))
	default:
		parts = append(parts, "expires "+until(now, token.ExpiresAt.Time))
	}
	s.Detail = strings.Join(parts, ", ")
}

func secretName(g *v1alpha1.TokenGrant) string {
	return cmp.Or(g.Status.SecretName, g.SecretDelivery().Name)
}
