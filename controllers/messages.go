package controllers

import (
	"fmt"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// messages are the words of the status for what a grant publishes.
type messages struct{ thing, made, renewed, renewal, done string }

var (
	tokenMessages       = messages{"token", "minted", "refreshed", "refresh", "Minted, verified and published."}
	appPasswordMessages = messages{"app password", "made", "rotated", "rotation", "Made at Nextcloud, kept and published."}
)

func messagesOf(grant *v1alpha1.TokenGrant) messages {
	if grant.Spec.AppPassword != nil {
		return appPasswordMessages
	}
	return tokenMessages
}

func (o outcome) messages() messages { return messagesOf(o.grant) }

// holds says what is in the Secret.
func (w messages) holds(s *v1alpha1.TokenGrantStatus) string {
	if w == appPasswordMessages && s.Token != nil {
		return fmt.Sprintf("Secret %q holds an app password of user %q.", s.SecretName, s.Token.Username)
	}
	return fmt.Sprintf("Secret %q holds a verified token.", s.SecretName)
}
