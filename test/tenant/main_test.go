//go:build integration

package tenant

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"testing"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

var (
	scene *world
	rows  []row
)

func TestMain(m *testing.M) {
	flag.Parse()
	ctrl.SetLogger(zap.New(zap.WriteTo(io.Discard)))
	code, err := run(context.Background(), m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "tenant:", err)
		code = 1
	}
	os.Exit(code)
}

func run(ctx context.Context, m *testing.M) (int, error) {
	w, err := newWorld(ctx)
	defer w.close()
	if err != nil {
		return 1, err
	}
	scene = w
	code := m.Run()
	printTable(os.Stdout, rows)
	return code, nil
}

// attempt is one thing that a tenant tries.
type attempt struct {
	name string
	// try does it, and says what the tenant got, and what harm was done; no harm when empty.
	try func(w *world) (got, harm string)
}

// row is an attempt that was made.
type row struct{ name, got, harm string }

// TestTenant makes every attempt, one after the other: floods must not explain each other's figures.
func TestTenant(t *testing.T) {
	for _, group := range [][]attempt{permissions, references, secrets, accounts, words, floods, numbers} {
		for _, a := range group {
			t.Run(a.name, func(t *testing.T) {
				w := *scene
				w.t = t
				defer w.cleanUp()
				got, harm := a.try(&w)
				rows = append(rows, row{a.name, got, harm})
				if harm != "" {
					t.Errorf("harm was done: %s\nthe tenant got: %s", harm, got)
				}
			})
		}
	}
}

// printTable writes the rows as a table in Markdown.
func printTable(to io.Writer, rows []row) {
	withstood := 0
	fmt.Fprintln(to, "| # | a tenant tries to | and gets |\n|--:|---|---|")
	for i, r := range rows {
		got := r.got
		if r.harm == "" {
			withstood++
		} else {
			got = "**HARM: " + r.harm + "** " + got
		}
		fmt.Fprintf(to, "| %d | %s | %s |\n", i+1, cell(r.name), cell(got))
	}
	fmt.Fprintf(to, "%d attempts, %d withstood\n", len(rows), withstood)
}
