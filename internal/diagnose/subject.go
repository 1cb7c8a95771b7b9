package diagnose

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/controllers/publish"
	"github.com/tokengrant/tokengrant/internal/command"
	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/keycloak"
)

// subject is whose token the grant is about; nil for the service account's own.
func (w *walk) subject() *v1alpha1.Subject {
	if w.grant == nil {
		return nil
	}
	return w.grant.Spec.Subject
}

// mintSubject is the closed list of subjects. The client has shown before that it can authenticate.
func (w *walk) mintSubject(ctx context.Context) Step {
	w.own, w.ownErr = nil, nil
	switch s := w.subject(); {
	case s.TokenSecretRef != nil:
		return w.subjectToken(ctx, s.TokenSecretRef)
	case s.OfflineTokenSecretRef != nil:
		return w.session(ctx, s.OfflineTokenSecretRef)
	case s.Assertion != nil && s.Assertion.KubernetesToken != nil:
		return w.mintAsserted(ctx, s.Assertion.KubernetesToken)
	case s.Assertion != nil && s.Assertion.TokenSecretRef != nil:
		return w.readAssertion(ctx, s.Assertion.TokenSecretRef)
	}
	return unknown("this program does not know the subject of this grant")
}

// mintAsserted takes a fresh assertion to the issuer, as the operator does.
func (w *walk) mintAsserted(ctx context.Context, k *v1alpha1.KubernetesToken) Step {
	assertion, missing := w.requestToken(ctx, k, w.grant.Namespace)
	if missing != nil {
		return *missing
	}
	w.asked = w.Now()
	token, err := w.oauth().JWTBearer(ctx, assertion, w.scopes())
	if err != nil {
		claims, unreadable := keycloak.UnverifiedClaims(assertion)
		if unreadable != nil {
			return unknown("the API server's token of ServiceAccount %q cannot be read", k.ServiceAccountName)
		}
		return failure(err, func(e *keycloak.Error) script { return w.cureAssertion(e, claims) })
	}
	w.own = &token
	return w.readOwn(ctx)
}

// readAssertion judges the assertion in a Secret by what it says. It is not tried: the issuer may take it once only, and
// the operator needs it.
func (w *walk) readAssertion(ctx context.Context, ref *v1alpha1.SecretKeyRef) Step {
	key := ref.Key
	value, missing := w.readKey(ctx, w.grant.Namespace, ref.Name, key, nil)
	if missing != nil {
		return *missing
	}
	from := fmt.Sprintf("the assertion in key %q of Secret %q", key, ref.Name)
	claims, err := keycloak.UnverifiedClaims(value)
	if err != nil {
		return broken(v1alpha1.ReasonSubjectTokenInvalid, nil, "%s: %s is no signed JWT", v1alpha1.ReasonSubjectTokenInvalid, from)
	}
	issuer := string(w.issuer.spec.URL)
	switch {
	case !w.Now().Before(claims.Expiry):
		return broken(v1alpha1.ReasonSubjectTokenInvalid, script{
			command.Comment("where another TokenGrant writes it"),
			command.New("kubectl tokengrant status").Flag("-n", w.grant.Namespace),
		},
			"%s: %s expired %s", v1alpha1.ReasonSubjectTokenInvalid, from, w.ago(claims.Expiry))
	case !slices.Equal(claims.Audience, []string{issuer}):
		return broken(v1alpha1.ReasonSubjectTokenInvalid, script{
			command.Comment("where another TokenGrant writes it"),
			command.New("kubectl patch tokengrant OTHER").Flag("-n", w.grant.Namespace).Words("--type=merge").
				JSON("-p", map[string]any{"spec": map[string]any{"exchange": map[string]any{"audience": []string{issuer}}}}),
		}, "%s: %s is for %q; its only audience must be the issuer URL", v1alpha1.ReasonSubjectTokenInvalid, from, claims.Audience)
	}
	return w.untried("%s, of %q at %s, is made out as it should be; it is not tried here, because the issuer may take it once only and the operator needs it",
		from, cmp.Or(claims.Username, claims.Subject), claims.Issuer)
}

// untried is about what is there for the operator alone: then its word counts.
func (w *walk) untried(format string, args ...any) Step {
	if meta.IsStatusConditionTrue(w.grant.Status.Conditions, v1alpha1.ConditionReady) && w.lastFailure() == nil {
		return ok(format+". The operator's last try was good", args...)
	}
	return unknown(format, args...)
}

// subjectToken reads the token of another party, and judges it as the issuer will.
func (w *walk) subjectToken(ctx context.Context, ref *v1alpha1.SecretKeyRef) Step {
	key := ref.Key
	value, missing := w.readKey(ctx, w.grant.Namespace, ref.Name, key, nil)
	if missing != nil {
		return *missing
	}
	from := fmt.Sprintf("key %q of Secret %q", key, ref.Name)
	claims, err := w.verifier.Verify(ctx, value, keycloak.Expect{Now: w.Now()})
	if err != nil {
		return w.badSubject(err, from, value)
	}
	w.own, w.ownClaims, w.asked = &keycloak.Token{AccessToken: value}, claims, w.Now()
	life := plan.Life(w.asked, nil, w.asked, claims.Expiry)
	return ok("%s: a token of user %q, minted by client %q, aud %v, valid for %s", from, claims.Username, claims.ClientID, claims.Audience, life.Round(1e9))
}

// session looks whether there is a session of a user, or a login to open it with. Neither is tried: where the realm revokes
// refresh tokens, each of them is good for one refresh, and that is the operator's.
func (w *walk) session(ctx context.Context, ref *v1alpha1.SecretKeyRef) Step {
	kept := publish.SessionName(w.grant.Name)
	_, missing := w.readKey(ctx, w.grant.Namespace, kept, "session", nil)
	switch {
	case missing == nil:
		return w.untried("the session of the user is kept in Secret %q; it is not refreshed here, because its refresh token may be good for one refresh only and the operator needs it", kept)
	case missing.Result == Unknown:
		return *missing
	}
	key := ref.Key
	_, missing = w.readKey(ctx, w.grant.Namespace, ref.Name, key, script{
		command.New("kubectl tokengrant login").Arg(w.grant.Name).Flag("-n", w.grant.Namespace).Flag("--secret", ref.Name).Flag("--key", key),
	})
	if missing != nil {
		missing.Message = "nobody has logged in: " + missing.Message
		return *missing
	}
	return unknown("key %q of Secret %q holds a login that the operator has not used yet; it is not tried here, because it may be good for one refresh only", key, ref.Name)
}

// badSubject says what is wrong with another party's token: most often, its age.
func (w *walk) badSubject(err error, from string, token sensitive.String) Step {
	if claims, unreadable := keycloak.UnverifiedClaims(token); unreadable == nil && !w.Now().Before(claims.Expiry) {
		return broken(v1alpha1.ReasonSubjectTokenInvalid, w.cureSubject(), "%s: the token in %s expired %s",
			v1alpha1.ReasonSubjectTokenInvalid, from, w.ago(claims.Expiry))
	}
	s := failure(err, func(*keycloak.Error) script { return w.cureSubject() })
	s.Message = from + ": " + s.Message
	return s
}
