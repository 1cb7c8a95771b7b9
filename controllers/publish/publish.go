// Package publish decides what the Secret of a grant looks like: it renders the data (Render), puts the
// whole object together (Build) and says what somebody else changed in it (Compare). It is pure: no
// client, no clock, and the same input gives the same bytes, so that the controller can compare instead
// of write.
package publish

import (
	"time"

	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// Content is what a grant has to publish. All of it comes from one mint, so that token, expiry and
// claims never belong to different tokens.
type Content struct {
	AccessToken sensitive.String
	TokenType   string
	IssuedAt    time.Time
	ExpiresAt   time.Time
	Scope       string
	// Claims are those of the token, as decoded JSON; numbers may be json.Number.
	Claims map[string]any

	// Username and Password are set for an app password, which has no token.
	Username string
	Password sensitive.String
}

// Default keys from which the controller reads a token again after a restart.
const (
	KeyAccessToken = "access_token"
	KeyTokenType   = "token_type"
)

// defaults are the keys of a grant that brings no templates. An app password has those of
// kubernetes.io/basic-auth.
func defaults(c Content) map[string][]byte {
	if c.AccessToken.IsZero() && !c.Password.IsZero() {
		return map[string][]byte{"username": []byte(c.Username), "password": []byte(c.Password.Reveal())}
	}
	return map[string][]byte{
		KeyAccessToken: []byte(c.AccessToken.Reveal()),
		KeyTokenType:   []byte(c.TokenType),
		"expires_at":   []byte(Time{c.ExpiresAt}.String()),
		"issued_at":    []byte(Time{c.IssuedAt}.String()),
		"scope":        []byte(c.Scope),
	}
}
