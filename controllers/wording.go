package controllers

import (
	"fmt"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// wording is how the status speaks of what a grant publishes.
type wording struct{ thing, made, renewed, renewal, done string }

var (
	tokenWords       = wording{"token", "minted", "refreshed", "refresh", "Minted, verified and published."}
	appPasswordWords = wording{"app password", "made", "rotated", "rotation", "Made at Nextcloud, kept and published."}
)

func wordingOf(grant *v1alpha1.TokenGrant) wording {
	if grant.Spec.AppPassword != nil {
		return appPasswordWords
	}
	return tokenWords
}

func (o outcome) wording() wording { return wordingOf(o.grant) }

// holds says what is in the Secret.
func (w wording) holds(s *v1alpha1.TokenGrantStatus) string {
	if w == appPasswordWords && s.Token != nil {
		return fmt.Sprintf("Secret %q holds an app password of user %q.", s.SecretName, s.Token.Username)
	}
	return fmt.Sprintf("Secret %q holds a verified token.", s.SecretName)
}
