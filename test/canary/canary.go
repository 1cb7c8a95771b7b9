// Package canary searches what programs say (logs, events, statuses, metrics, traces, errors) for what they must never
// say: secret values that a test has planted or found in Secrets, as they are or encoded, and whatever looks like a
// token or a private key. It also searches the requests that reach servers for values that belong to other servers.
package canary

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// shortest is the least length of a value that is searched: a shorter one would be found in words.
const shortest = 8

// looksSecret is what needs no planting: the beginning of a JWT, also inside of base64, a Fernet token, a sealed session, a private key,
// a header with a credential, and the body of a request, which may be a Secret, as client-go logs it.
var looksSecret = regexp.MustCompile(`eyJ[\w-]{10,}|ZXlK\w{10,}|V5S[mn]\w{10,}|leUp\w{10,}|gAAAA[\w-]{20,}|tokengrant\.session\.v\d+\.[\w-]{20,}|PRIVATE KEY-----|` +
	`(?i:authorization\W{1,6}(bearer|basic) [\w+/=~.-]{8,})|"?(Request|Response) Body"?`)

// Watch collects secret values and what was said. It may be used by many goroutines. The zero value is ready for use.
type Watch struct {
	mu sync.Mutex
	// forms are all forms of the planted values, by their first bytes.
	forms map[[shortest]byte][]form
	known map[string]*value
	said  []statement
	// requests are what reached servers.
	requests []request
	owners   *owners
	// partial is the end of what was written, and no line yet.
	partial []byte
	// failed is why the search is not complete.
	failed []error
}

// value is a secret value.
type value struct{ sources []source }

// form is one way to write a secret value.
type form struct{ text, what, value string }

// statement is something that was said, and where.
type statement struct{ where, text string }

// Plant makes values known that must not be said; name is what a finding calls them. A value shorter than 8 bytes
// is not searched. It belongs to no server, unless it is also in a Secret or in an answer.
func (w *Watch) Plant(name string, values ...string) {
	for _, v := range values {
		w.plant(name, v, source{})
	}
}

func (w *Watch) plant(name, v string, from source) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.forms == nil {
		w.forms, w.known = map[[shortest]byte][]form{}, map[string]*value{}
	}
	if known := w.known[v]; known != nil {
		if !slices.Contains(known.sources, from) {
			known.sources = append(known.sources, from)
		}
		return
	}
	w.known[v] = &value{sources: []source{from}}
	if len(v) < shortest {
		return
	}
	for _, f := range formsOf(v) {
		if len(f.text) >= shortest {
			f.what, f.value = name+f.what, v
			key := [shortest]byte([]byte(f.text))
			w.forms[key] = append(w.forms[key], f)
		}
	}
}

// Said keeps a text for the search at the end: a value that is planted later is found in it, too.
func (w *Watch) Said(where, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, statement{where, text})
}

// Write takes logs.
func (w *Watch) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.partial = append(w.partial, p...)
	if end := bytes.LastIndexByte(w.partial, '\n'); end >= 0 {
		w.said = append(w.said, statement{"a log", string(w.partial[:end])})
		w.partial = slices.Clone(w.partial[end+1:])
	}
	return len(p), nil
}

// Planted says how many values are searched for, and how many bytes in how many texts they are searched in.
func (w *Watch) Planted() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	size := len(w.partial)
	for _, s := range w.said {
		size += len(s.text)
	}
	return fmt.Sprintf("%d secret values, searched in %d texts of %d bytes and in %d requests", len(w.known), len(w.said), size, len(w.requests))
}

// Found says where secrets were said. It shows the surroundings of each finding, and of the secret the first bytes only.
// A search without anything to find, or to search in, is an error as well: it would prove nothing.
func (w *Watch) Found() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.known) == 0 || len(w.said) == 0 {
		return fmt.Errorf("%d secret values and %d texts: a search that cannot find anything", len(w.known), len(w.said))
	}
	errs := slices.Clone(w.failed)
	findings := w.misplaced()
	for _, s := range append(w.said, statement{"a log", string(w.partial)}) {
		for _, finding := range w.search(s.text) {
			findings = append(findings, fmt.Sprintf("%s says %s", s.where, finding))
		}
	}
	slices.Sort(findings)
	for _, finding := range slices.Compact(findings) {
		errs = append(errs, errors.New(finding))
	}
	return errors.Join(errs...)
}

// Heard says whether a text was said.
func (w *Watch) Heard(text string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.said, func(s statement) bool { return strings.Contains(s.text, text) })
}

func (w *Watch) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed = append(w.failed, err)
}

func (w *Watch) search(text string) []string {
	var findings []string
	for _, at := range looksSecret.FindAllStringIndex(text, -1) {
		findings = append(findings, "what looks like a secret: "+around(text, at[0]))
	}
	for _, m := range w.matches(text) {
		findings = append(findings, m.what+": "+around(text, m.at))
	}
	return findings
}

// match is a planted value in a text.
type match struct {
	form

	at int
}

func (w *Watch) matches(text string) []match {
	var found []match
	for i := 0; i+shortest <= len(text); i++ {
		for _, f := range w.forms[[shortest]byte([]byte(text[i:i+shortest]))] {
			if strings.HasPrefix(text[i:], f.text) {
				found = append(found, match{f, i})
			}
		}
	}
	return found
}

// around shows where a secret begins.
func around(text string, at int) string {
	from, to := max(0, at-160), min(len(text), at+4)
	return fmt.Sprintf("…%s…", text[from:to])
}
