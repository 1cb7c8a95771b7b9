package publish

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// Render returns the data of the Secret: the given templates, by key, or without any the default keys
// access_token, token_type, expires_at, issued_at and scope (times as RFC 3339 in UTC).
//
// A template sees .AccessToken .TokenType .ExpiresAt .IssuedAt .Scope .Claims .Username .Password, the
// functions of text/template and those in allowed. Nothing in it can read the environment, a clock, a
// file, the network or chance, and what it does and writes is bounded, for all keys together.
//
// An error names the key and the place in the template. It never holds a rendered value: the errors of
// text/template quote them, so their text is not used.
func Render(templates map[string]string, c Content) (map[string][]byte, error) {
	if len(templates) == 0 {
		return defaults(c), nil
	}
	m := newMeter()
	dot := newView(c)
	data := make(map[string][]byte, len(templates))
	for _, key := range slices.Sorted(maps.Keys(templates)) {
		t, err := compile(key, templates[key], m)
		if err != nil {
			return nil, err
		}
		if data[key], err = execute(t, dot, m); err != nil {
			return nil, err
		}
	}
	return data, nil
}

// Validate reports what is wrong with the templates before there is a token: a key that no Secret can
// have, a template that does not parse, or one that fails with an invented token. Claims differ between
// tokens, so the failure of a template that reads them is found by Render only.
func Validate(templates map[string]string) error {
	m := newMeter()
	dot := newView(example)
	for _, key := range slices.Sorted(maps.Keys(templates)) {
		t, err := compile(key, templates[key], m)
		if err != nil {
			return err
		}
		readsClaims := strings.Contains(templates[key], ".Claims")
		if _, err := execute(t, dot, m); err != nil && (!readsClaims || errors.As(err, new(refusal))) {
			return err
		}
	}
	return nil
}

var example = Content{
	AccessToken: sensitive.New("eyJhbGciOiJub25lIn0.e30."),
	TokenType:   "Bearer",
	IssuedAt:    time.Unix(1_764_000_000, 0),
	ExpiresAt:   time.Unix(1_764_000_300, 0),
	Scope:       "openid profile",
	Claims:      map[string]any{"iss": "https://id.example.com/realms/r", "sub": "s", "aud": "a", "exp": 1_764_000_300},
	Username:    "user",
	Password:    sensitive.New("password"),
}

// compile returns the template of one key, metered.
func compile(key, text string, m *meter) (*template.Template, error) {
	if faults := validation.IsConfigMapKey(key); len(faults) > 0 {
		return nil, fmt.Errorf("key %q: %s", key, strings.Join(faults, ", "))
	}
	if m.source -= len(text); m.source < 0 {
		return nil, fmt.Errorf("key %q: the templates have more than %d KiB", key, maxSource>>10)
	}
	t, err := template.New(key).Option("missingkey=error").Funcs(m.functions()).Parse(text)
	if err != nil {
		// This text quotes the template only.
		return nil, fmt.Errorf("key %q: %s", key, strings.TrimPrefix(err.Error(), "template: "))
	}
	m.install(t)
	return t, nil
}

func execute(t *template.Template, dot view, m *meter) (data []byte, err error) {
	defer func() {
		if recover() != nil {
			data, err = nil, fmt.Errorf("key %q: the template cannot be evaluated", t.Name())
		}
	}()
	out := &boundedBuffer{meter: m}
	if err := t.Execute(out, dot); err != nil {
		return nil, withoutValues(t.Name(), err)
	}
	return out.Bytes(), nil
}

// boundedBuffer counts what all keys write.
type boundedBuffer struct {
	bytes.Buffer
	meter *meter
}

func (b *boundedBuffer) Write(p []byte) (int, error) {
	if b.meter.output -= len(p); b.meter.output < 0 {
		return 0, errOutput
	}
	return b.Buffer.Write(p)
}

// place finds the line, the column and the piece of template in an error of text/template. All three come
// before the first value: "template: key:1:2: executing "key" at <.Claims.x>: …".
var place = regexp.MustCompile(`^template: [^:]*:(\d+):(\d+): executing ".*?" at <(.*?)>: `)

// withoutValues keeps of an error of text/template where it is, and why if the words are ours.
func withoutValues(key string, err error) error {
	where := ""
	if m := place.FindStringSubmatch(err.Error()); m != nil {
		where = fmt.Sprintf("line %s, column %s, <%s>: ", m[1], m[2], m[3])
	}
	if ours, ok := errors.AsType[refusal](err); ok {
		return fmt.Errorf("key %q: %s%w", key, where, ours)
	}
	return fmt.Errorf("key %q: %sa claim or field is missing, or a value is not of the right type", key, where)
}
