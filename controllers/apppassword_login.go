package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/internal/offline"
	"github.com/tokengrant/tokengrant/internal/stage"
	"github.com/tokengrant/tokengrant/nextcloud"
)

// logIn makes an app password, in an order that survives a crash at any point: the intent is kept, then the login is
// sent, then the answer is kept, and nothing else is done before that. What was begun is finished also when the operator
// is being stopped.
func (r *GrantReconciler) logIn(ctx context.Context, g *observation) (m *minted, err error) {
	err = r.atNextcloud(ctx, g, string(g.grant.Spec.AppPassword.Nextcloud.URL), func(ctx context.Context, nc nextcloud.Client) error {
		m, err = r.logInAt(ctx, g, nc)
		return err
	})
	return m, err
}

func (r *GrantReconciler) logInAt(ctx context.Context, g *observation, nc nextcloud.Client) (*minted, error) {
	s := g.past.session
	name, at := appPasswordName(g, g.now)
	s.Login = &offline.Login{Content: g.loginContent(), Name: name, At: at}
	if err := r.keepAppPasswords(ctx, g); err != nil {
		return nil, err
	}
	ctx, end := stage.Begin(context.WithoutCancel(ctx), stage.Login)
	made, err := nc.LogIn(ctx, g.login.user, g.login.password, name)
	end(err)
	if err != nil {
		return nil, r.notLoggedIn(ctx, g, err)
	}
	s.Login = nil
	s.AppPasswords = append(s.AppPasswords, offline.AppPassword{
		URL: nc.URL, User: made.User, Name: name, Password: made.Password, MadeAt: at, Content: g.loginContent(),
		Inputs: g.inputs.Token, Credential: g.inputs.Credential, Request: refreshRequest(g.grant),
	})
	if err := r.keepAppPasswords(ctx, g); err != nil {
		return nil, err
	}
	return mintedFrom(g.newestAppPassword()), nil
}

func (r *GrantReconciler) keepAppPasswords(ctx context.Context, g *observation) error {
	g.past.session.unsaved = true
	return r.saveSession(ctx, g)
}

// notLoggedIn decides what may follow a failed login. A refused one is remembered before all else: it must not be sent
// again, neither by this process nor by the next.
func (r *GrantReconciler) notLoggedIn(ctx context.Context, g *observation, err error) error {
	failed, ok := errors.AsType[*nextcloud.Error](err)
	if !ok {
		return err
	}
	login := g.past.session.Login
	f := &failure{reason: failed.Reason, message: failed.Message, retryAfter: failed.RetryAfter}
	switch {
	case failed.Reason == nextcloud.ReasonCredential:
		login.Refusal = failed.Message
		g.refused = f
		if err := r.keepAppPasswords(ctx, g); err != nil {
			return err
		}
	case failed.AnswerLost:
		f.message += ". " + lostLogin(login)
		f.retryAfter = max(f.retryAfter, plan.LoginPause)
	case failed.Reason == nextcloud.ReasonThrottled:
		// Only in memory: after a restart the pause of an unanswered login is what this needs.
		g.past.session.Login = nil
		f.retryAfter = max(f.retryAfter, plan.LoginPause)
	default:
		g.past.session.Login = nil
	}
	return f
}

// unanswered is the failure while nobody knows what became of a login.
func unanswered(l *offline.Login, g *observation) error {
	next := l.At.Add(plan.LoginPause)
	return &failure{
		reason:     v1alpha1.ReasonNextcloudUnreachable,
		message:    fmt.Sprintf("the answer to the login at %s is not known. %s", l.At.UTC().Format(time.RFC3339), lostLogin(l)),
		retryAfter: next.Sub(g.now),
	}
}

func lostLogin(l *offline.Login) string {
	return fmt.Sprintf("The next login follows at %s and not sooner, because it may have been refused. If it was not, the account has an app password %q that nobody knows: delete it, see occ user:auth-tokens:list",
		l.At.Add(plan.LoginPause).UTC().Format(time.RFC3339), l.Name)
}
