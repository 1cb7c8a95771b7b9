package repo

import (
	"regexp"
	"strings"
	"testing"
)

// claimPages promise properties to those who run the operator and to their tenants.
var claimPages = []string{"docs/security.md", "docs/threat-model.md", "docs/multi-tenancy.md"}

var (
	// claimWords are those of a sentence that promises a property.
	claimWords = regexp.MustCompile(`(?i)\b(never|always|only|cannot|refuse[sd]?|reject(s|ed)?|forbidden|bounded|at most|nothing|nobody|none|nowhere|no other|no more than)\b`)
	testName   = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Za-z0-9]+)`")
	tableRule  = regexp.MustCompile(`^\|[ :|-]+\|$`)
	listItem   = regexp.MustCompile(`^ *(-|\d+[.]) `)
)

// block is a paragraph, an item of a list or a row of a table.
type block struct{ heading, text string }

// blocks leaves out code, headings and the first rows of tables.
func blocks(page string) []block {
	var all []block
	heading, text := "", ""
	end := func() {
		if text != "" {
			all = append(all, block{heading, text})
		}
		text = ""
	}
	for line := range strings.Lines(fence.ReplaceAllString(page, "\n")) {
		line = strings.TrimRight(line, "\n")
		row := strings.HasPrefix(line, "|")
		switch {
		case strings.HasPrefix(line, "#"):
			end()
			heading = strings.Trim(line, "# ")
		case tableRule.MatchString(line): // the row before it is the table's first
			text = ""
		case line == "":
			end()
		case row, listItem.MatchString(line), strings.HasPrefix(text, "|"):
			end()
			text = line
		default:
			text = strings.TrimSpace(text + " " + strings.TrimSpace(line))
		}
	}
	end()
	return all
}

// unproven gives the blocks of a page that promise a property and name no test. What remains open promises nothing: a block
// that begins with "**Remains:**" or is under "Not defended against".
func unproven(page string) []string {
	var found []string
	for _, b := range blocks(page) {
		open := strings.HasPrefix(b.text, "**Remains:**") || b.heading == "Not defended against"
		prose := link.ReplaceAllString(inline.ReplaceAllString(b.text, ""), "]")
		if !open && claimWords.MatchString(prose) && !testName.MatchString(b.text) {
			found = append(found, b.text)
		}
	}
	return found
}

// TestEveryClaimHasATest: what would have to fail if the sentence were no longer true stands beside it.
func TestEveryClaimHasATest(t *testing.T) {
	for _, page := range claimPages {
		for _, text := range unproven(read(t, page)) {
			t.Errorf("%s claims this without naming the test that would fail without it: %s", page, text)
		}
	}
}

// TestClaimsWithoutATestAreFound plants claims.
func TestClaimsWithoutATestAreFound(t *testing.T) {
	const page = "# Only a heading\n\nThe operator never sleeps.\n\nIt listens, and\nis bounded (`TestX`).\n\n" +
		"- one item is refused;\n- another is refused\n  (`TestX`);\n- a field named `only`, at [x](#only).\n\n" +
		"| only a title | test |\n|---|---|\n| at most one | |\n| at most two | `FuzzX` |\n\n" +
		"```sh\nonly code\n```\n\n**Remains:** nothing else.\n\n## Not defended against\n\n- Nobody can help it.\n"
	want := "The operator never sleeps.\n- one item is refused;\n| at most one | |"
	if got := strings.Join(unproven(page), "\n"); got != want {
		t.Errorf("found:\n%s\nwant:\n%s", got, want)
	}
}

// TestTestsThatPagesNameExist: a test that was renamed would leave its claim without one.
func TestTestsThatPagesNameExist(t *testing.T) {
	var code strings.Builder
	for _, file := range files(t, ".go") {
		if strings.HasSuffix(file, "_test.go") {
			code.WriteString(read(t, file))
		}
	}
	for _, page := range files(t, ".md") {
		for _, name := range testName.FindAllStringSubmatch(read(t, page), -1) {
			if !strings.Contains(code.String(), "\nfunc "+name[1]+"(") {
				t.Errorf("%s names %s, which is no test", page, name[1])
			}
		}
	}
}

// TestEveryThreatHasATest: the threat model names a test for each attacker.
func TestEveryThreatHasATest(t *testing.T) {
	tested := map[string]bool{}
	for _, b := range blocks(read(t, "docs/threat-model.md")) {
		tested[b.heading] = tested[b.heading] || testName.MatchString(b.text)
	}
	attackers := regexp.MustCompile(`(?m)^### (.+)$`).FindAllStringSubmatch(read(t, "docs/threat-model.md"), -1)
	if len(attackers) < 5 {
		t.Fatalf("only %d attackers are found", len(attackers))
	}
	for _, a := range attackers {
		if !tested[a[1]] {
			t.Errorf("docs/threat-model.md names no test for %q", a[1])
		}
	}
}
