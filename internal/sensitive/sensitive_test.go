package sensitive

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"
)

const canary = "canary-4711"

func TestNoWayOfPrintingShowsTheValue(t *testing.T) {
	secret := New(canary)
	nested := struct {
		Inner  String
		Ptr    *String
		Nested map[string]String
		hidden String
		deeper struct{ hidden *String }
	}{secret, &secret, map[string]String{"k": secret}, secret, struct{ hidden *String }{&secret}}

	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%10s"} {
		fmt.Fprintf(&out, verb+"\n", secret)
		fmt.Fprintf(&out, verb+"\n", nested)
		fmt.Fprintf(&out, verb+"\n", []String{secret})
	}
	fmt.Fprint(&out, secret, fmt.Errorf("wrapped: %v", secret))
	if err := json.NewEncoder(&out).Encode(nested); err != nil {
		t.Fatal(err)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "s", secret, "n", nested)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "s", secret, "n", nested)
	funcr.New(func(prefix, args string) { out.WriteString(prefix + args) }, funcr.Options{}).Info("m", "s", secret, "n", nested)

	hexed := fmt.Sprintf("%x", canary)
	if s := out.String(); strings.Contains(s, canary) || strings.Contains(strings.ToLower(s), hexed) {
		t.Errorf("output shows the secret:\n%s", s)
	}
}

func TestRevealReturnsTheValue(t *testing.T) {
	if got := New(canary).Reveal(); got != canary {
		t.Errorf("Reveal() = %q, want %q", got, canary)
	}
	if !New("").IsZero() || New("x").IsZero() {
		t.Error("IsZero must tell the empty secret only")
	}
	if !New("a").Equal(New("a")) || New("a").Equal(New("b")) || !New("").Equal(String{}) {
		t.Error("Equal must compare the values")
	}
}

func TestDecodingIsRefused(t *testing.T) {
	var s String
	if err := json.Unmarshal([]byte(`"`+canary+`"`), &s); err == nil || !s.IsZero() {
		t.Errorf("Unmarshal = %v, %v; want an error and nothing kept", s.Reveal(), err)
	}
}
