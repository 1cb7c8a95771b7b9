package keycloak

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// maxText is how many characters of a server's own words an Error shows.
const maxText = 200

// tokenLike matches JWTs and their parts, and any run of base64url that is too long for a name.
var tokenLike = regexp.MustCompile(`eyJ[\w.-]{6,}|[\w+/=-]{64,}`)

// maxRaw is how many bytes of a server's own words are looked at. Of longer ones nothing is shown: a part of a secret could
// be left at a cut.
const maxRaw = 8 << 10

// cleaner makes a server's words fit to be shown. It knows the secrets the request carried.
type cleaner struct{ secrets *strings.Replacer }

// newCleaner takes the values a server may echo: as they are, form-urlencoded, and within a Basic header.
func newCleaner(clientID string, secrets ...string) cleaner {
	var pairs []string
	for _, s := range secrets {
		if s == "" {
			continue
		}
		escaped := url.QueryEscape(s)
		basic := base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(clientID) + ":" + escaped))
		for _, form := range []string{basic, escaped, s} {
			pairs = append(pairs, form, sensitive.Redacted)
		}
	}
	if pairs == nil {
		return cleaner{}
	}
	return cleaner{strings.NewReplacer(pairs...)}
}

// text returns s on one line, printable, without secrets or what looks like a token, at most maxText characters long.
func (c cleaner) text(s string) string {
	if len(s) > maxRaw {
		return fmt.Sprintf("a text of %d bytes, which is not shown", len(s))
	}
	if c.secrets != nil {
		s = c.secrets.Replace(s) // At once: the word for one secret may hold another.
	}
	s = tokenLike.ReplaceAllString(s, sensitive.Redacted)
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if runes := []rune(s); len(runes) > maxText {
		s = string(runes[:maxText-1]) + "…"
	}
	return s
}
