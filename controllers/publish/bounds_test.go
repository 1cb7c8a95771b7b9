package publish

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/Masterminds/sprig/v3"
)

// twins declares $a and $b: equal texts of 200 KiB in different memory.
const twins = `{{$a := printf "%50s" "x"}}{{range 12}}{{$a = print $a $a}}{{end}}{{$b := print $a ""}}`

// Each of these would run for minutes, or take gigabytes, in plain text/template with sprig.
var endless = map[string]struct {
	template string
	want     error
}{
	"a loop over a huge number":            {`{{range 1000000000}}{{end}}`, errSteps},
	"a loop that writes":                   {`{{range 1000000000}}` + strings.Repeat("x", 1000) + `{{end}}`, errOutput},
	"loops in loops":                       {`{{range 9999}}{{range 9999}}{{end}}{{end}}`, errSteps},
	"a loop with a long body":              {`{{range 1000000}}` + strings.Repeat("{{if 1}}{{end}}", 3000) + `{{end}}`, errSteps},
	"a loop in an else":                    {`{{if 0}}{{else}}{{with 1}}{{range 1000000000}}{{end}}{{end}}{{end}}`, errSteps},
	"a template that invokes itself":       {`{{define "a"}}{{template "a"}}{{end}}{{template "a"}}`, errSteps},
	"templates that invoke each other":     {`{{define "a"}}{{template "b"}}{{template "b"}}{{end}}{{define "b"}}{{template "a"}}{{end}}{{template "a"}}`, errSteps},
	"a text that doubles":                  {`{{$x := "a"}}{{range 100}}{{$x = print $x $x}}{{end}}`, errWork},
	"a list that doubles":                  {`{{$x := list "a"}}{{range 100}}{{$x = list $x $x}}{{end}}`, errWork},
	"a list that grows deep":               {`{{$x := list "a"}}{{range 100}}{{$x = list $x}}{{end}}`, errWork},
	"a map that grows deep":                {`{{$x := dict}}{{range 100}}{{$x = dict "k" $x}}{{end}}`, errWork},
	"a text replaced by itself":            {twins + `{{replace "x" $a $a}}{{replace "" $a $a}}`, errWork},
	"a list joined by a long text":         {twins + `{{join $a (splitList "" (trunc 9999 $a))}}`, errWork},
	"an indent of many lines":              {`{{$a := "\n\n\n\n\n\n\n\n"}}{{range 12}}{{$a = print $a $a}}{{end}}{{indent 99 $a}}`, errWork},
	"long comparisons":                     {twins + `{{range 1000000}}{{eq $a $b}}{{end}}`, errSteps},
	"a big map sorted again and again":     {`{{$d := dict ` + numbersTo(2000) + `}}{{range 1000000}}{{range $d}}{{break}}{{end}}{{end}}`, errWork},
	"functions on long texts":              {twins + `{{range 1000000}}{{contains "y" $a}}{{end}}`, errWork},
	"many keys that are each in bounds":    {`{{range 4000}}{{end}}`, errSteps},
	"a number as wide as the memory":       {`{{printf "%999999999d" 1}}`, refusal("printf takes no width of more than two digits, no * and no [n]")},
	"one argument printed again and again": {twins + `{{printf "` + strings.Repeat("%[1]s", 2000) + `" $a}}`, refusal("printf takes no width of more than two digits, no * and no [n]")},
	"spaces without end":                   {`{{indent 9999999999 "x"}}`, refusal("indent takes 0 to 99 spaces")},
}

func TestEveryTemplateEnds(t *testing.T) {
	for name, tc := range endless {
		t.Run(name, func(t *testing.T) {
			templates := map[string]string{}
			for i := range 5 {
				templates[fmt.Sprint("key", i)] = tc.template
			}
			start := time.Now()
			data, err := Render(templates, content())
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("took %s", took) // a tenth of that is usual; without the bounds it is minutes
			}
			if !errors.Is(err, tc.want) || data != nil {
				t.Errorf("error %v, want %v", err, tc.want)
			}
			if err := Validate(templates); !errors.Is(err, tc.want) {
				t.Errorf("Validate = %v, want %v", err, tc.want)
			}
		})
	}
}

func numbersTo(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%d ", i)
	}
	return b.String()
}

func TestTheSourceIsBounded(t *testing.T) {
	half := strings.Repeat(" ", maxSource/2)
	for n, ok := range map[int]bool{2: true, 3: false} {
		templates := map[string]string{}
		for i := range n {
			templates[fmt.Sprint("key", i)] = half
		}
		if _, err := Render(templates, content()); (err == nil) != ok {
			t.Errorf("%d halves: %v", n, err)
		}
	}
}

func TestALayoutIsShort(t *testing.T) {
	grow := `{{$l := "1"}}{{range 40}}{{$l = $.IssuedAt.Format $l}}{{end}}`
	if _, err := Render(map[string]string{"k": grow}, content()); err == nil {
		t.Error("a layout that doubles itself was accepted")
	}
}

func TestTheLibraryIsTheAllowList(t *testing.T) {
	hermetic := sprig.HermeticTxtFuncMap()
	for name, from := range allowed {
		if hermetic[from] == nil {
			t.Errorf("%s: sprig has no hermetic function %s", name, from)
		}
	}
	ours := newMeter().functions()
	for name := range sprig.TxtFuncMap() {
		_, err := template.New("t").Funcs(ours).Parse("{{" + name + "}}")
		// slice is also the name of a function of text/template.
		if available := ours[name] != nil || name == "slice"; (err == nil) != available {
			t.Errorf("%s: parses %t, in the list %t", name, err == nil, available)
		}
	}
	for _, name := range []string{
		"env", "expandenv", "getHostByName", "now", "date", "ago", "randAlphaNum", "uuidv4", "shuffle", "genPrivateKey", "genCA", "bcrypt",
		"htpasswd", "derivePassword", "encryptAES", "set", "unset", "merge", "repeat", "until", "untilStep", "seq", "keys", "values", "tpl",
	} {
		if ours[name] != nil {
			t.Errorf("%s is available", name)
		}
	}
	t.Logf("available: %s", slices.Sorted(maps.Keys(ours)))
}

// outside stands where no template may read: in the environment, and in a file.
const outside = "outside-canary-0815"

// TestTemplatesReadAndWriteNothingElse tries every way that Go's templates and sprig are known to offer.
func TestTemplatesReadAndWriteNothingElse(t *testing.T) {
	t.Setenv("OUTSIDE", outside)
	file := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(file, []byte(outside), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		`{{env "OUTSIDE"}}`, `{{expandenv "$OUTSIDE"}}`, `{{readFile "` + file + `"}}`, `{{(.Files.Get "` + file + `")}}`, `{{include "` + file + `" .}}`,
		`{{template "` + file + `"}}`, `{{call .AccessToken}}`, `{{getHostByName "localhost"}}`, `{{.IssuedAt.at}}`, `{{.IssuedAt.Local}}`, `{{.meter}}`,
		`{{set . "access_token" "x"}}`, `{{$x := .Claims}}{{set $x "a" "b"}}`, `{{genPrivateKey "rsa"}}`, `{{lookup "v1" "Secret" "" ""}}`, `{{tpl "x" .}}`,
	} {
		data, err := Render(map[string]string{"k": text}, content())
		if err == nil || data != nil || strings.Contains(err.Error(), outside) || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %s, error %v", text, data["k"], err)
		}
	}
	for _, key := range []string{"../k", "..", ".", "a/b", "k\n", "", "ключ", strings.Repeat("k", 254)} {
		if _, err := Render(map[string]string{key: "x"}, content()); err == nil {
			t.Errorf("a value was rendered for the key %q", key)
		}
	}
}

// FuzzRender: whatever the templates of two keys are, rendering ends, writes these keys within the bound and no others, says
// the same twice, and neither shows the token in an error nor reads what stands outside.
func FuzzRender(f *testing.F) {
	f.Setenv("OUTSIDE", outside)
	for text := range faults {
		f.Add(text, "x")
	}
	for _, tc := range endless {
		f.Add(tc.template, tc.template)
	}
	f.Add(`{{range $i, $g := .Claims.groups}}{{$g | quote | indent 3}}{{end}}{{toJson .}}`, `{{define "k"}}x{{end}}{{template "k"}}`)
	f.Add(`{{env "OUTSIDE"}}`, `{{expandenv "$OUTSIDE"}}`)
	f.Fuzz(func(t *testing.T, one, two string) {
		if strings.Contains(one+two, canary) || strings.Contains(one+two, outside) {
			return // it quotes itself
		}
		start := time.Now()
		templates := map[string]string{"k": one, "l": two}
		data, err := Render(templates, content())
		switch again, _ := Render(templates, content()); {
		case err != nil && (data != nil || strings.Contains(err.Error(), canary)):
			t.Errorf("the error shows the token, or comes with data: %v", err)
		case err == nil && (!slices.Equal(slices.Sorted(maps.Keys(data)), []string{"k", "l"}) || len(data["k"])+len(data["l"]) > maxOutput):
			t.Errorf("keys %q, with %d and %d bytes", slices.Sorted(maps.Keys(data)), len(data["k"]), len(data["l"]))
		case strings.Contains(fmt.Sprintf("%s %v", data, err), outside):
			t.Errorf("read what is outside: %s %v", data, err)
		case !maps.EqualFunc(data, again, slices.Equal[[]byte]):
			t.Error("rendered differently when rendered again")
		}
		_ = Validate(templates)
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("took %s", took)
		}
	})
}
