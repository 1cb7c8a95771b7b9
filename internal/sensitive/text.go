package sensitive

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// maxRaw is how many bytes of a server's own words are looked at. Of longer ones nothing is shown: a part of a secret could
// be left at a cut.
const maxRaw = 8 << 10

// Redactor replaces secrets in a text, all at once: the word for one secret may hold another. Empty ones do not count.
func Redactor(secrets ...string) *strings.Replacer {
	var pairs []string
	for _, s := range secrets {
		if s != "" {
			pairs = append(pairs, s, Redacted)
		}
	}
	return strings.NewReplacer(pairs...)
}

// Line makes a server's words fit to be shown: on one line, printable, without the secrets of a redactor, which may be nil,
// and without what matches tokenLike. It takes time that grows with the text, and looks at 8 KiB at most.
func Line(text string, secrets *strings.Replacer, tokenLike *regexp.Regexp) string {
	if len(text) > maxRaw {
		return fmt.Sprintf("a text of %d bytes, which is not shown", len(text))
	}
	if secrets != nil {
		text = secrets.Replace(text)
	}
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, tokenLike.ReplaceAllString(text, Redacted))
	return strings.Join(strings.Fields(text), " ")
}
