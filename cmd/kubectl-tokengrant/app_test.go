package main

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/cluster"
)

var update = flag.Bool("update", false, "write the golden files anew")

// now is the time of all tests but doctor's.
var now = time.Date(2026, 3, 4, 15, 0, 0, 0, time.UTC)

// bench is the program with a cluster of its own.
type bench struct {
	*app
	out, errOut bytes.Buffer
	// replace stands for a random part of the output, such as an address.
	replace []string
}

func newBench(t *testing.T, funcs interceptor.Funcs, objects ...client.Object) *bench {
	t.Helper()
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	reader := fake.NewClientBuilder().WithScheme(scheme()).WithObjects(objects...).
		WithStatusSubresource(&v1alpha1.TokenGrant{}).WithInterceptorFuncs(funcs).Build()
	b := &bench{}
	b.app = &app{
		IOStreams: genericiooptions.IOStreams{In: strings.NewReader(""), Out: &b.out, ErrOut: &b.errOut},
		flags:     genericclioptions.NewConfigFlags(true),
		now:       func() time.Time { return now },
		connect:   func() (client.Client, error) { return reader, nil },

		apiAudiences:  func(context.Context) (cluster.APIAudiences, error) { return nil, nil },
		unknownFields: func(context.Context) ([]string, error) { return nil, nil },
	}
	return b
}

// golden runs a command and compares what it prints, and its exit code, with testdata/<name>.golden.
func (b *bench) golden(t *testing.T, name string, code int, args ...string) {
	t.Helper()
	if got := b.run(t.Context(), args); got != code {
		t.Errorf("exit code %d, want %d: %s", got, code, b.errOut.String())
	}
	output := strings.NewReplacer(b.replace...).Replace(b.out.String() + b.errOut.String())
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(output), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), output); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// forbid refuses to let one kind be read.
func forbid(kind string) interceptor.Funcs {
	return interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
		gvk := o.GetObjectKind().GroupVersionKind()
		if kinds, _, err := scheme().ObjectKinds(o); err == nil {
			gvk = kinds[0]
		}
		if gvk.Kind == kind {
			return apierrors.NewForbidden(schema.GroupResource{Resource: strings.ToLower(kind) + "s"}, key.Name, nil)
		}
		return c.Get(ctx, key, o, options...)
	}}
}

func TestAWrongCommandLineEndsWith2(t *testing.T) {
	for name, args := range map[string][]string{
		"an unknown command":                 {"mint"},
		"an unknown flag":                    {"status", "--what"},
		"an unknown output":                  {"status", "-o", "xml"},
		"too many names":                     {"status", "a", "b"},
		"a name and all namespaces":          {"status", "a", "-A"},
		"no name to inspect":                 {"inspect"},
		"nothing to renew":                   {"renew"},
		"a name and all":                     {"renew", "a", "--all"},
		"nothing to examine":                 {"doctor"},
		"a grant and an issuer":              {"doctor", "a", "--issuer", "b"},
		"nothing to render":                  {"render"},
		"a wait that is no duration":         {"renew", "a", "--wait", "soon"},
		"two issuers":                        {"doctor", "--issuer", "a", "--cluster-issuer", "b"},
		"an argument where none is expected": {"render", "a"},
		"an argument of version":             {"version", "a"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, interceptor.Funcs{})
			if code := b.run(t.Context(), args); code != exitUsage {
				t.Errorf("exit code %d, want %d: %s", code, exitUsage, b.errOut.String())
			}
			if !strings.Contains(b.errOut.String(), "--help") {
				t.Errorf("no word of --help: %s", b.errOut.String())
			}
		})
	}
}

func TestAMissingGrantEndsWith1(t *testing.T) {
	for _, command := range []string{"status", "inspect", "renew", "doctor"} {
		b := newBench(t, interceptor.Funcs{})
		if code := b.run(t.Context(), []string{command, "nosuch", "-n", "apps"}); code != exitBroken || !strings.Contains(b.errOut.String(), `"nosuch" not found`) {
			t.Errorf("%s: exit code %d: %s", command, code, b.errOut.String())
		}
	}
}

func TestMarksAreASCIIUnlessOnATerminalWithColours(t *testing.T) {
	if s := styleOf(os.Stdout, func(string) (string, bool) { return "1", true }); s.fancy {
		t.Error("NO_COLOR is passed over")
	}
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if s := styleOf(file, func(string) (string, bool) { return "", false }); s.fancy {
		t.Error("a file is taken for a terminal")
	}
	for state := range marks {
		if plain := (style{}).mark(state); strings.ContainsFunc(plain, func(r rune) bool { return r > 126 || r < 32 }) || len(plain) != 4 {
			t.Errorf("the mark of %s is %q", state, plain)
		}
		if fancy := (style{fancy: true}).mark(state); !strings.HasSuffix(fancy, "\x1b[0m") {
			t.Errorf("the mark of %s is %q", state, fancy)
		}
	}
}

func TestForeignTextCannotSteerTheTerminal(t *testing.T) {
	b := newBench(t, interceptor.Funcs{})
	b.line(stateOK, "name", "a\x1b[2Jb\u009bc\nd")
	if got, want := b.out.String(), "  ok   name          a [2Jb c d\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
