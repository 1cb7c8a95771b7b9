package diagnose

import (
	"cmp"
	"context"
	"fmt"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/controllers/publish"
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
		assertion, missing := w.requestToken(ctx, s.Assertion.KubernetesToken, w.grant.Namespace)
		if missing != nil {
			return *missing
		}
		w.asked = w.Now()
		token, err := w.oauth().JWTBearer(ctx, assertion, w.scopes())
		if err != nil {
			return failure(err, w.cureClient)
		}
		w.own = &token
		return w.readOwn(ctx)
	case s.Assertion != nil && s.Assertion.TokenSecretRef != nil:
		return unknown("the assertion in Secret %q is not tried, because the issuer may take it once only and the operator needs it", s.Assertion.TokenSecretRef.Name)
	}
	return unknown("this program does not know the subject of this grant")
}

// subjectToken reads the token of another party, and judges it as the issuer will.
func (w *walk) subjectToken(ctx context.Context, ref *v1alpha1.TokenSecretRef) Step {
	key := cmp.Or(ref.Key, "access_token")
	value, missing := w.readKey(ctx, "Secret", w.grant.Namespace, ref.Name, key, nil)
	if missing != nil {
		return *missing
	}
	from := fmt.Sprintf("key %q of Secret %q", key, ref.Name)
	claims, err := w.verifier.Verify(ctx, value, keycloak.Expect{Now: w.Now()})
	if err != nil {
		s := failure(err, w.cureVerify)
		s.Message = from + ": " + s.Message
		return s
	}
	w.own, w.ownClaims, w.asked = &keycloak.Token{AccessToken: value}, claims, w.Now()
	life := plan.Life(w.asked, nil, w.asked, claims.Expiry)
	return ok("%s: a token of user %q, aud %v, valid for %s", from, claims.Username, claims.Audience, life.Round(1e9))
}

// session looks whether there is a session of a user, or a login to open it with. Neither is tried: where the realm revokes
// refresh tokens, each of them is good for one refresh, and that is the operator's.
func (w *walk) session(ctx context.Context, ref *v1alpha1.OfflineTokenSecretRef) Step {
	kept := publish.SessionName(w.grant.Name)
	_, missing := w.readKey(ctx, "Secret", w.grant.Namespace, kept, "session", nil)
	switch {
	case missing == nil:
		return unknown("the session of the user is kept in Secret %q; it is not refreshed here, because its refresh token may be good for one refresh only and the operator needs it", kept)
	case missing.Result == Unknown:
		return *missing
	}
	key := cmp.Or(ref.Key, "refresh_token")
	_, missing = w.readKey(ctx, "Secret", w.grant.Namespace, ref.Name, key, []string{
		fmt.Sprintf("kubectl tokengrant login %s -n %s --secret %s --key %s", shell(w.grant.Name), shell(w.grant.Namespace), shell(ref.Name), shell(key)),
	})
	if missing != nil {
		missing.Message = "nobody has logged in: " + missing.Message
		return *missing
	}
	return unknown("key %q of Secret %q holds a login that the operator has not used yet; it is not tried here, because it may be good for one refresh only", key, ref.Name)
}
