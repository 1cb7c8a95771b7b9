package repo

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"slices"
	"strings"
	"testing"
)

const (
	longestFile     = 300
	longestFunction = 60
)

// source is one Go file that somebody wrote by hand and that is no test.
type source struct {
	path   string
	lines  int
	syntax *ast.File
}

func sources(t *testing.T) (*token.FileSet, []source) {
	t.Helper()
	set := token.NewFileSet()
	var list []source
	for _, file := range files(t, ".go") {
		if strings.HasSuffix(file, "_test.go") || strings.Contains(file, "/testdata/") {
			continue
		}
		content := read(t, file)
		syntax, err := parser.ParseFile(set, file, content, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if !ast.IsGenerated(syntax) {
			list = append(list, source{file, strings.Count(content, "\n"), syntax})
		}
	}
	return set, list
}

func TestEveryPackageHasOneComment(t *testing.T) {
	_, list := sources(t)
	commented := map[string][]string{}
	for _, s := range list {
		folder := path.Dir(s.path)
		if commented[folder] == nil {
			commented[folder] = []string{}
		}
		if doc := s.syntax.Doc.Text(); strings.TrimSpace(doc) != "" {
			commented[folder] = append(commented[folder], s.path)
			word := "Package " + s.syntax.Name.Name
			if s.syntax.Name.Name == "main" {
				word = "Command "
			}
			if !strings.HasPrefix(doc, word) {
				t.Errorf("%s: the comment of the package does not start with %q", s.path, word)
			}
		}
	}
	for folder, in := range commented {
		if len(in) != 1 {
			t.Errorf("package %s has %d comments, want 1: %v", folder, len(in), in)
		}
	}
}

func TestSizes(t *testing.T) {
	set, list := sources(t)
	type sized struct {
		name  string
		lines int
	}
	var ofFiles, ofFunctions []sized
	for _, s := range list {
		ofFiles = append(ofFiles, sized{s.path, s.lines})
		for _, d := range s.syntax.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Body != nil {
				// As funlen counts: without the lines of the braces.
				lines := set.Position(f.Body.Rbrace).Line - set.Position(f.Body.Lbrace).Line - 1
				ofFunctions = append(ofFunctions, sized{s.path + ": " + f.Name.Name, max(lines, 1)})
			}
		}
	}
	for what, all := range map[string]struct {
		sizes []sized
		limit int
	}{"file": {ofFiles, longestFile}, "function": {ofFunctions, longestFunction}} {
		slices.SortFunc(all.sizes, func(a, b sized) int { return a.lines - b.lines })
		longest := all.sizes[len(all.sizes)-1]
		t.Logf("%ss: %d, median %d lines, longest %d (%s)", what, len(all.sizes), all.sizes[len(all.sizes)/2].lines, longest.lines, longest.name)
		for _, s := range all.sizes {
			if s.lines > all.limit {
				t.Errorf("%s %s has %d lines, want at most %d", what, s.name, s.lines, all.limit)
			}
		}
	}
}
