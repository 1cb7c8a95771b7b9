// Package sensitive holds the one type in which tokens, client secrets, keys and passwords travel
// through the operator: a string that cannot print itself.
package sensitive

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
)

// Redacted is what every way of printing a String yields.
const Redacted = "[redacted]"

// String carries a secret value. All of fmt, log/slog, logr and encoding/json show Redacted instead of it,
// so that no call site can forget. The zero value is the empty secret. Compare with Equal; the compiler refuses ==.
//
// The value stands in a closure, which no reflection looks into: fmt does not call the methods of unexported struct
// fields, and printers for debugging call no methods at all and follow pointers.
type String struct{ reveal func() string }

// New wraps a secret value.
func New(value string) String { return String{func() string { return value }} }

// Reveal returns the secret value. Call it only where the value leaves for the place it belongs to:
// a request to its issuer or its audience, or the Secret that publishes it.
func (s String) Reveal() string {
	if s.reveal == nil {
		return ""
	}
	return s.reveal()
}

// IsZero reports whether the secret is empty.
func (s String) IsZero() bool { return s.Reveal() == "" }

// Equal compares two secrets in constant time.
func (s String) Equal(other String) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other.Reveal())) == 1
}

// String implements fmt.Stringer.
func (String) String() string { return Redacted }

// GoString implements fmt.GoStringer.
func (String) GoString() string { return Redacted }

// Format implements fmt.Formatter: every verb, %x and %q included, prints Redacted.
func (String) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(Redacted)) }

// MarshalJSON and MarshalText write Redacted.
func (String) MarshalJSON() ([]byte, error) { return []byte(`"` + Redacted + `"`), nil }

// MarshalText implements encoding.TextMarshaler.
func (String) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

// UnmarshalJSON refuses: a secret is built by New, on purpose, never as a by-product of decoding.
func (*String) UnmarshalJSON([]byte) error {
	return errors.New("sensitive: a secret is not decoded from JSON")
}

// LogValue implements slog.LogValuer.
func (String) LogValue() slog.Value { return slog.StringValue(Redacted) }

// MarshalLog implements logr.Marshaler.
func (String) MarshalLog() any { return Redacted }
