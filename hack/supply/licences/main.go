// Command licences lists the modules that are part of the operator and the kubectl plugin, each with its licence as SPDX
// names it, in Markdown. It fails over a licence that is not among those that may be distributed with Apache-2.0, and over
// a module without one. Run it at the root of the repository:
//
//	licences ./cmd/... >docs/licences.md
package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/go-enry/go-license-detector/v4/licensedb"
	"github.com/go-enry/go-license-detector/v4/licensedb/filer"
)

// allowed are licences that ask for no more than to be named.
var allowed = []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT"}

// certain is how sure the detector must be: some leave out the end of Apache-2.0 or have another title.
const certain = 0.85

// read were read by a human, because the detector takes them for licences that differ in a few words.
var read = map[string]string{
	"golang.org/x/":              "BSD-3-Clause",
	"github.com/davecgh/go-spew": "ISC",
}

// api is ours.
const api = "github.com/tokengrant/tokengrant/api"

// platforms are those of a release: a module may be part of one only.
var platforms = []string{"linux/amd64", "darwin/arm64", "windows/amd64"}

// module is what `go list` says of one.
type module struct {
	Path, Version, Dir string
	Main               bool
}

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "licences:", err)
		os.Exit(1)
	}
}

func run(packages []string, out io.Writer) error {
	modules, err := linked(packages)
	if err != nil {
		return err
	}
	var rows strings.Builder
	var errs []error
	for _, m := range modules {
		licence, err := licenceOf(m)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", m.Path, err))
			continue
		}
		fmt.Fprintf(&rows, "| %s | %s | %s |\n", m.Path, m.Version, licence)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, `# Licences

TokenGrant is licensed under [Apache-2.0](../LICENSE). The operator and the kubectl plugin contain these %d modules; the licences
that may be among them are %s. `+"`make licences`"+` writes this page, and fails over another one.

| module | version | licence |
|---|---|---|
%s`, len(modules), strings.Join(allowed, ", "), &rows)
	return err
}

// linked lists the modules whose code is in programs, on any platform.
func linked(packages []string) ([]module, error) {
	found := map[string]module{}
	for _, platform := range platforms {
		system, architecture, _ := strings.Cut(platform, "/")
		cmd := exec.Command("go", append([]string{"list", "-deps", "-json=Module"}, packages...)...)
		cmd.Env = append(os.Environ(), "GOOS="+system, "GOARCH="+architecture, "CGO_ENABLED=0")
		var complaint bytes.Buffer
		cmd.Stderr = &complaint
		listed, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", cmd, err, &complaint)
		}
		decoder := json.NewDecoder(bytes.NewReader(listed))
		for {
			var p struct{ Module *module }
			if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return nil, err
			}
			if p.Module != nil && !p.Module.Main && p.Module.Path != api {
				found[p.Module.Path] = *p.Module
			}
		}
	}
	modules := make([]module, 0, len(found))
	for _, m := range found {
		modules = append(modules, m)
	}
	slices.SortFunc(modules, func(a, b module) int { return strings.Compare(a.Path, b.Path) })
	if len(modules) == 0 {
		return nil, errors.New("no module is part of these packages")
	}
	return modules, nil
}

// licenceOf names the most likely licence of a module.
func licenceOf(m module) (string, error) {
	for prefix, licence := range read {
		if strings.HasPrefix(m.Path, prefix) {
			return licence, nil
		}
	}
	files, err := filer.FromDirectory(m.Dir)
	if err != nil {
		return "", err
	}
	matches, err := licensedb.Detect(files)
	if err != nil {
		return "", fmt.Errorf("no licence is found: look at it, and do without the module if there is none: %w", err)
	}
	names := slices.SortedFunc(maps.Keys(matches), func(a, b string) int {
		return cmp.Or(cmp.Compare(matches[b].Confidence, matches[a].Confidence), cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
	})
	best := names[0]
	confidence := matches[best].Confidence
	switch {
	case confidence < certain:
		return "", fmt.Errorf("its licence may be %s (%.0f%%): look at it", best, 100*confidence)
	case !slices.Contains(allowed, best):
		return "", fmt.Errorf("its licence %s is not one of %s: do without the module, or decide otherwise in hack/supply/licences", best, strings.Join(allowed, ", "))
	}
	return best, nil
}

// rank prefers what is allowed among licences that are equally likely: some differ in a word or two.
func rank(licence string) int {
	if i := slices.Index(allowed, licence); i >= 0 {
		return i
	}
	return len(allowed)
}
