package publish

import (
	"encoding/json"
	"fmt"
	"time"
)

// view is the dot of the templates: plain values, because a template is the place where a token is
// written to where it belongs.
type view struct {
	AccessToken string
	TokenType   string
	ExpiresAt   Time
	IssuedAt    Time
	Scope       string
	Claims      map[string]any
	Username    string
	Password    string
}

func newView(c Content) view {
	claims, _ := numbers(c.Claims).(map[string]any)
	return view{
		AccessToken: c.AccessToken.Reveal(),
		TokenType:   c.TokenType,
		ExpiresAt:   Time{c.ExpiresAt},
		IssuedAt:    Time{c.IssuedAt},
		Scope:       c.Scope,
		Claims:      claims,
		Username:    c.Username,
		Password:    c.Password.Reveal(),
	}
}

// numbers copies a decoded JSON value with each json.Number, which is text to a template, as an int64 or
// else a float64. Whole numbers must not become a float64: it prints the claim exp as 1.764e+09.
func numbers(value any) any {
	switch v := value.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, item := range v {
			out[key] = numbers(item)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = numbers(item)
		}
		return out
	case json.Number:
		if whole, err := v.Int64(); err == nil {
			return whole
		}
		if fraction, err := v.Float64(); err == nil {
			return fraction
		}
	}
	return value
}

// Time is how templates see a point in time. It prints as RFC 3339 in UTC; {{.ExpiresAt.Unix}} and
// {{.ExpiresAt.Format "2006-01-02"}} give other forms. It is not a time.Time because that offers the time
// zone of the machine and formats of any length.
type Time struct{ at time.Time }

// maxLayout is more than any useful layout has.
const maxLayout = 64

// String returns RFC 3339 in UTC, and nothing for the zero time.
func (t Time) String() string {
	if t.at.IsZero() {
		return ""
	}
	return t.at.UTC().Format(time.RFC3339)
}

// MarshalText makes toJson print the same as String.
func (t Time) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// Unix returns the seconds since 1970-01-01 UTC.
func (t Time) Unix() int64 { return t.at.Unix() }

// Format prints the time in UTC by a layout of Go's package time.
func (t Time) Format(layout string) (string, error) {
	if len(layout) > maxLayout {
		return "", fmt.Errorf("a layout of more than %d characters", maxLayout)
	}
	return t.at.UTC().Format(layout), nil
}
