package sensitive

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/davecgh/go-spew/spew"
	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap/zapcore"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/yaml"

	watch "github.com/tokengrant/tokengrant/test/canary"
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
	for _, encoder := range []zap.Opts{zap.JSONEncoder(), zap.ConsoleEncoder()} {
		log := zap.New(encoder, zap.UseDevMode(true), zap.Level(zapcore.Level(-10)), zap.WriteTo(&out))
		log.V(10).Info("m", "s", secret, "n", nested)
		log.Error(fmt.Errorf("wrapped: %v", nested), "m", "s", &secret)
	}
	written, err := yaml.Marshal(nested)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(written)
	// Both follow pointers into unexported fields, the first one without calling any method.
	fmt.Fprint(&out, (&spew.ConfigState{DisableMethods: true, Indent: " "}).Sdump(nested), spew.Sdump(nested), cmp.Diff(secret, New("other")))

	if strings.Count(out.String(), Redacted) < 50 {
		t.Errorf("too little was printed to prove anything:\n%s", &out)
	}
	var w watch.Watch
	w.Plant("the secret", canary)
	w.Said("the output", out.String())
	if err := w.Found(); err != nil {
		t.Errorf("%v in\n%s", err, &out)
	}
}

func TestGobHasNothingToWrite(t *testing.T) {
	var out bytes.Buffer
	if err := gob.NewEncoder(&out).Encode(New(canary)); err == nil || strings.Contains(out.String(), canary) {
		t.Errorf("gob wrote %q, %v", &out, err)
	}
}

func TestPanicsShowNoValue(t *testing.T) {
	held := struct{ secret String }{New(canary)}
	defer func() {
		var w watch.Watch
		w.Plant("the secret", canary)
		w.Said("the panic", fmt.Sprintf("%v %+v %#v", recover(), held, held))
		w.Said("the stack", string(debug.Stack()))
		if err := w.Found(); err != nil {
			t.Error(err)
		}
	}()
	panic(held)
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
