package controllers

import (
	"context"
	"strings"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/offline"
)

// hasAppPasswords says whether there are any that have not been deleted at Nextcloud, whatever the spec asks for now.
func (g *observation) hasAppPasswords() bool {
	return g.past.session != nil && len(g.past.session.AppPasswords) > 0
}

// endFormerAppPasswords takes away what kept the app passwords of a grant that asks for none any more, after the last of
// them was retired.
func (r *GrantReconciler) endFormerAppPasswords(ctx context.Context, g *observation) error {
	s := g.past.session
	switch {
	case g.grant.Spec.AppPassword != nil, s == nil, s.secret == nil, g.hasAppPasswords():
		return nil
	case !keepsSession(g.grant) && s.RefreshToken.IsZero():
		g.past.session = nil
		return r.deleteSecret(ctx, g.grant, sessionName(g.grant))
	case s.Login != nil:
		s.Login = nil
		return r.keepAppPasswords(ctx, g)
	}
	return nil
}

// endAppPasswords deletes at Nextcloud all app passwords of a deleted grant. Memory is asked first: the Secret that keeps
// them may have gone before the grant, with its namespace.
func (r *GrantReconciler) endAppPasswords(ctx context.Context, g *observation) error {
	s, err := r.appPasswordsLeft(ctx, g)
	if err != nil {
		return err
	}
	var left []offline.AppPassword
	var failed []string
	var last *failure
	for _, p := range s.AppPasswords {
		err := r.deleteAppPassword(ctx, g, &p)
		if err == nil {
			continue
		}
		f, other := asFailure(err)
		if other != nil {
			return other
		}
		left, failed, last = append(left, p), append(failed, f.message), f
	}
	s.AppPasswords = left
	if last != nil {
		return &failure{reason: last.reason, message: strings.Join(failed, "; ")}
	}
	if l := s.Login; l != nil && l.Refusal == "" {
		return failf(v1alpha1.ReasonNotRevoked, "the login at %s was not answered. The account may have an app password %q, that nobody knows: delete it, see occ user:auth-tokens:list", l.At.UTC().Format("2006-01-02T15:04:05Z"), l.Name)
	}
	return nil
}

// appPasswordsLeft finds what a deleted grant has at Nextcloud: what is kept, else what is published.
func (r *GrantReconciler) appPasswordsLeft(ctx context.Context, g *observation) (*session, error) {
	if s := g.past.session; s != nil && (len(s.AppPasswords) > 0 || s.Login != nil) {
		return s, nil
	}
	s, err := r.session(ctx, g)
	if err == nil && len(s.AppPasswords) > 0 {
		return s, nil
	}
	if _, other := asFailure(err); other != nil {
		return nil, other
	}
	if _, other := asFailure(r.gatherSecret(ctx, g)); other != nil {
		return nil, other
	}
	if s == nil {
		s = &session{}
	}
	switch {
	case g.adopt(s):
		return s, nil
	case g.record != nil && g.record.Name != "" && len(s.AppPasswords) == 0:
		return nil, failf(v1alpha1.ReasonNotRevoked, "app password %q of user %q (it works until it is deleted at Nextcloud): Secret %q, which kept it, is gone or cannot be read. Delete the app password, see occ user:auth-tokens:list",
			g.record.Name, g.record.Token.Username, sessionName(g.grant))
	}
	return s, err
}
