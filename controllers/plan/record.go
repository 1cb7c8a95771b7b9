package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// Record is what the Secret says about the token it holds. It is written together with the token, so the two are
// always of one mint; status is a projection of it. It holds no secret.
type Record struct {
	Token v1alpha1.TokenStatus `json:"token"`
	// Inputs is Inputs.Token of the mint, Credential is Inputs.Credential.
	Inputs     string `json:"inputs"`
	Credential string `json:"credential,omitempty"`
	// Shape is a hash of the templates that the Secret was rendered from.
	Shape string `json:"shape,omitempty"`
	// Request is the refresh request that this mint answered.
	Request string `json:"request,omitempty"`
	// KeyID is the kid of the token's signature: Nextcloud may not know a new key yet.
	KeyID string `json:"keyID,omitempty"`
	// Name is that of an app password, which Nextcloud lists it by; no two of a grant share one. A token has none.
	Name string `json:"name,omitempty"`
}

// ParseRecord reads a record. A Secret without a sound one holds no token that we know.
func ParseRecord(annotation string) (*Record, error) {
	var r Record
	if err := json.Unmarshal([]byte(annotation), &r); err != nil {
		return nil, fmt.Errorf("reading annotation %s: %w", v1alpha1.PublishedAnnotation, err)
	}
	// We write whole seconds of years with four digits. What others write can be more, and would not be read as it was written.
	r.Token.IssuedAt, r.Token.ExpiresAt = wholeSeconds(r.Token.IssuedAt), wholeSeconds(r.Token.ExpiresAt)
	if r.Token.ExpiresAt.UTC().Year() > 9999 || r.Token.IssuedAt.UTC().Year() > 9999 {
		return nil, fmt.Errorf("reading annotation %s: its times are no times", v1alpha1.PublishedAnnotation)
	}
	if r.Token.IssuedAt.IsZero() || r.Name == "" && !r.Token.ExpiresAt.After(r.Token.IssuedAt.Time) {
		return nil, fmt.Errorf("reading annotation %s: it has no life time", v1alpha1.PublishedAnnotation)
	}
	return &r, nil
}

func wholeSeconds(t metav1.Time) metav1.Time {
	return metav1.NewTime(t.Truncate(time.Second))
}

// SameMint says that two records are of one token. Times alone do not tell: they have whole seconds.
func (r Record) SameMint(o Record) bool {
	return r.Token.IssuedAt.Equal(&o.Token.IssuedAt) && r.Token.ExpiresAt.Equal(&o.Token.ExpiresAt) &&
		r.Inputs == o.Inputs && r.Credential == o.Credential && r.Request == o.Request && r.KeyID == o.KeyID && r.Name == o.Name
}

// Expired says that the token's life is over. An app password has no end.
func (r Record) Expired(now time.Time) bool {
	return r.Name == "" && !now.Before(r.Token.ExpiresAt.Time)
}

// RefreshAt is when what the record describes is to be replaced: a token before it expires, an app password at its age.
func (r Record) RefreshAt(uid string, refresh v1alpha1.Refresh, rotateAfter time.Duration) time.Time {
	if r.Name != "" {
		return RotateAt(uid, r.Token.IssuedAt.Time, rotateAfter)
	}
	return RefreshAt(uid, r.Token.IssuedAt.Time, r.Token.ExpiresAt.Time, refresh)
}

// lifeLeft is 0 without an end.
func (r Record) lifeLeft(now time.Time) time.Duration {
	if r.Name != "" {
		return 0
	}
	return r.Token.ExpiresAt.Sub(now)
}

// Marshal writes a record.
func (r Record) Marshal() ([]byte, error) { return json.Marshal(r) }

// Inputs tells which token a spec asks for. Two fields, because a changed credential calls for a new token but does
// not make the held one wrong.
type Inputs struct {
	// Token changes when another token is asked for: issuer, client, scopes, audience.
	Token string
	// Credential changes when the client authenticates with something else: UID and resourceVersion of its Secret.
	// No hash of the content: a weak secret could be guessed from it.
	Credential string
}

// HashInputs condenses what a token depends on.
func HashInputs(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s;", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Words joins a list for HashInputs; the words hold no spaces.
func Words[S ~string](list []S) string {
	words := make([]string, len(list))
	for i, w := range list {
		words[i] = string(w)
	}
	return strings.Join(words, " ")
}
