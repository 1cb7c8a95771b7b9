package repo

import (
	"go/ast"
	"go/token"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// printed matches a command that people paste, from its program on.
var printed = regexp.MustCompile(`(^|[^\w/-])(kubectl|occ|kcadm\.sh|kc\.sh|curl|oc|openssl) [^ ].*`)

var verb = regexp.MustCompile(`%[-+# 0-9.\[\]*]*[a-zA-Z]`)

// TestCommandsAreBuiltInOnePlace: a value that is put into a command by Sprintf or + is not quoted for a shell.
func TestCommandsAreBuiltInOnePlace(t *testing.T) {
	set, list := sources(t)
	for _, s := range list {
		if strings.HasPrefix(s.path, "internal/command/") || strings.HasPrefix(s.path, "hack/") || strings.HasPrefix(s.path, "test/") {
			continue
		}
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BasicLit:
				for _, command := range printed.FindAllString(text(n), -1) {
					if verb.MatchString(command) {
						t.Errorf("%s: a value is put into the command %q: use internal/command", set.Position(n.Pos()), command)
					}
				}
			case *ast.BinaryExpr:
				if command, found := continued(n); found {
					t.Errorf("%s: a value is put behind the command %q: use internal/command", set.Position(n.Pos()), command)
				}
			}
			return true
		})
	}
}

// TestCommentsInCuresAreHarmless: an interactive zsh takes a comment for a command, and a quote in it opens one.
func TestCommentsInCuresAreHarmless(t *testing.T) {
	set, list := sources(t)
	found := 0
	for _, s := range list {
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			call, is := n.(*ast.CallExpr)
			if !is {
				return true
			}
			if f, is := call.Fun.(*ast.SelectorExpr); is && f.Sel.Name == "Comment" && len(call.Args) == 1 {
				found++
				if comment := text(call.Args[0]); comment == "" || strings.ContainsAny(comment, "'\"`$\\;&|<>") {
					t.Errorf("%s: comment %q", set.Position(call.Pos()), comment)
				}
			}
			return true
		})
	}
	if found < 10 {
		t.Errorf("only %d comments were found", found)
	}
}

// continued says whether a sum of strings puts something that is no literal behind the beginning of a command.
func continued(sum *ast.BinaryExpr) (string, bool) {
	if sum.Op != token.ADD {
		return "", false
	}
	command := ""
	for _, part := range parts(sum) {
		literal, is := part.(*ast.BasicLit)
		switch {
		case is && command == "":
			command = printed.FindString(text(literal))
		case !is && command != "":
			if _, isConstant := part.(*ast.SelectorExpr); !isConstant {
				return command, true
			}
		}
	}
	return "", false
}

func parts(e ast.Expr) []ast.Expr {
	if sum, is := e.(*ast.BinaryExpr); is && sum.Op == token.ADD {
		return append(parts(sum.X), parts(sum.Y)...)
	}
	return []ast.Expr{e}
}

func text(e ast.Expr) string {
	literal, is := e.(*ast.BasicLit)
	if !is || literal.Kind != token.STRING {
		return ""
	}
	value, err := strconv.Unquote(literal.Value)
	if err != nil {
		return ""
	}
	return value
}
