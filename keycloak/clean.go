package keycloak

import (
	"encoding/base64"
	"net/url"
	"regexp"
	"strings"

	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// maxText is how many characters of a server's own words an Error shows.
const maxText = 200

// tokenLike matches JWTs and their parts, and any run of base64url that is too long for a name.
var tokenLike = regexp.MustCompile(`eyJ[\w.-]{6,}|[\w+/=-]{64,}`)

// cleaner makes a server's words fit to be shown. It knows the secrets the request carried.
type cleaner struct{ secrets *strings.Replacer }

// newCleaner takes the values a server may echo: as they are, form-urlencoded, and within a Basic header.
func newCleaner(clientID string, secrets ...string) cleaner {
	var forms []string
	for _, s := range secrets {
		if s == "" {
			continue
		}
		escaped := url.QueryEscape(s)
		basic := base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(clientID) + ":" + escaped))
		forms = append(forms, basic, escaped, s)
	}
	return cleaner{sensitive.Redactor(forms...)}
}

// text returns s on one line, printable, without secrets or what looks like a token, at most maxText characters long.
func (c cleaner) text(s string) string {
	s = sensitive.Line(s, c.secrets, tokenLike)
	if runes := []rune(s); len(runes) > maxText {
		s = string(runes[:maxText-1]) + "…"
	}
	return s
}
