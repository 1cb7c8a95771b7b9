package publish

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tokengrant/tokengrant/internal/sensitive"
)

const canary = "canary-4711"

func content() Content {
	return Content{
		AccessToken: sensitive.New(canary),
		TokenType:   "Bearer",
		IssuedAt:    time.Date(2026, 11, 23, 13, 0, 0, 0, time.FixedZone("CET", 3600)),
		ExpiresAt:   time.Date(2026, 11, 23, 13, 5, 0, 0, time.FixedZone("CET", 3600)),
		Scope:       "openid profile",
		Claims: map[string]any{
			"aud": "nextcloud", "exp": json.Number("1795435500"), "ratio": json.Number("0.5"),
			"groups": []any{"staff", "notes"}, "resource_access": map[string]any{"nextcloud": map[string]any{"level": json.Number("3")}},
		},
	}
}

func TestRenderWithoutTemplatesGivesTheDefaultKeys(t *testing.T) {
	for name, tc := range map[string]struct {
		content Content
		want    map[string]string
	}{
		"a token": {content(), map[string]string{
			"access_token": canary, "token_type": "Bearer", "scope": "openid profile",
			"issued_at": "2026-11-23T12:00:00Z", "expires_at": "2026-11-23T12:05:00Z",
		}},
		"a token whose times are not known": {
			Content{AccessToken: sensitive.New(canary)},
			map[string]string{"access_token": canary, "token_type": "", "scope": "", "issued_at": "", "expires_at": ""},
		},
		"an app password": {
			Content{Username: "sync", Password: sensitive.New(canary)},
			map[string]string{"username": "sync", "password": canary},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Render(nil, tc.content)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, texts(got)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func texts(data map[string][]byte) map[string]string {
	out := map[string]string{}
	for key, value := range data {
		out[key] = string(value)
	}
	return out
}

func TestRender(t *testing.T) {
	for template, want := range map[string]string{
		``:                                   ``,
		`{{.AccessToken}}`:                   canary,
		`Bearer {{ .AccessToken | b64enc }}`: "Bearer Y2FuYXJ5LTQ3MTE=",
		`{{.ExpiresAt}} {{.ExpiresAt.Unix}} {{.IssuedAt.Format "15:04"}}`:                            "2026-11-23T12:05:00Z 1795435500 12:00",
		`{{sub .ExpiresAt.Unix .IssuedAt.Unix}}`:                                                     "300",
		`{{.Claims.exp}} {{.Claims.ratio}} {{.Claims.resource_access.nextcloud.level}}`:              "1795435500 0.5 3",
		`{{if gt .Claims.exp 5}}later{{end}}`:                                                        "later",
		`{{range $i, $g := .Claims.groups}}{{if $i}},{{end}}{{$g}}{{end}}`:                           "staff,notes",
		`{{range .Claims.groups}}{{if eq . "staff"}}{{continue}}{{end}}{{.}}{{end}}`:                 "notes",
		`{{range $k, $v := dict "b" 1 "a" 2}}{{$k}}={{$v}};{{end}}`:                                  "a=2;b=1;",
		`{{range $i := 3}}{{$i}}{{end}}{{range 0}}{{else}}!{{end}}{{range list}}{{else}}?{{end}}`:    "012!?",
		`{{toJson .Claims.groups}} {{(fromJson "{\"a\":[1]}").a}}`:                                   `["staff","notes"] [1]`,
		`{{toJson (dict "t" .ExpiresAt "u" "<&>")}}{{toRawJson "<&>"}}`:                              `{"t":"2026-11-23T12:05:00Z","u":"\u003c\u0026\u003e"}"<&>"`,
		`{{join "," .Claims.groups}} {{join "-" (list 1 "b" nil)}}`:                                  "staff,notes 1-b",
		`{{has "notes" .Claims.groups}} {{hasKey .Claims "nope"}} {{kindIs "slice" .Claims.groups}}`: "true false true",
		`{{get .Claims "nope" | default "none"}} {{dig "resource_access" "x" "y" "0" .Claims}}`:      "none 0",
		`{{"a\nb" | indent 2}}{{"c" | nindent 1}}`:                                                   "  a\n  b\n c",
		`{{replace "a" "bb" "xaxa"}} {{trunc 3 .TokenType}} {{upper .TokenType | lower}}`:            "xbbxbb Bea bearer",
		`{{printf "%5.2f|%-4s|%%|%q" 1.5 "a" "b"}}`:                                                  ` 1.50|a   |%|"b"`,
		`{{define "x"}}<{{.}}>{{end}}{{template "x" .Scope}}{{block "y" 1}}{{.}}{{end}}`:             "<openid profile>1",
		`{{first (splitList " " .Scope)}} {{ternary "y" "n" true}} {{coalesce "" "z"}}`:              "openid y z",
		`{{b64dec "aGk="}} {{html "<"}} {{urlquery "a b"}} {{print 1 2}} {{add 1 2 3}}`:              "hi &lt; a+b 1 2 6",
	} {
		got, err := Render(map[string]string{"key": template}, content())
		if err != nil || string(got["key"]) != want {
			t.Errorf("%s\n got %q, %v\nwant %q", template, got["key"], err, want)
		}
		if err := Validate(map[string]string{"key": template}); err != nil {
			t.Errorf("%s\nValidate: %v", template, err)
		}
	}
}

func TestRenderDoesNotChangeTheClaims(t *testing.T) {
	c := content()
	if _, err := Render(map[string]string{"k": `{{append .Claims.groups "x"}}{{omit .Claims "aud"}}`}, c); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(content().Claims, c.Claims); diff != "" {
		t.Errorf("(-before +after)\n%s", diff)
	}
}

const cannot = "a claim or field is missing, or a value is not of the right type"

// Each template fails; the error is told whole.
var faults = map[string]string{
	`{{.Foo}}`:                                          `key "k": line 1, column 2, <.Foo>: ` + cannot,
	`{{.Claims.nope}}`:                                  `key "k": line 1, column 9, <.Claims.nope>: ` + cannot,
	"\n{{ .Claims.aud.deeper }}":                        `key "k": line 2, column 10, <.Claims.aud.deeper>: ` + cannot,
	`{{fromJson .AccessToken}}`:                         `key "k": line 1, column 2, <fromJson .AccessToken>: ` + cannot,
	`{{index .Claims .AccessToken "x"}}`:                `key "k": line 1, column 2, <index .Claims .AccessToken "x">: ` + cannot,
	`{{range .AccessToken}}{{end}}`:                     `key "k": line 1, column 8, <range_operand>: ` + cannot,
	"x\n{{range 99999}}{{end}}":                         `key "k": line 2, column 15, <step 3>: the templates loop too often`,
	`{{template "nope"}}`:                               `key "k": line 1, column 11, <{{template "nope"}}>: ` + cannot,
	`{{slice .AccessToken 100}}`:                        `key "k": line 1, column 2, <slice .AccessToken 100>: ` + cannot,
	`{{lt .AccessToken 1}}`:                             `key "k": line 1, column 2, <lt .AccessToken 1>: ` + cannot,
	`{{div 1 0}}`:                                       `key "k": line 1, column 2, <div 1 0>: ` + cannot,
	`{{substr 5 -3 .AccessToken}}{{call .AccessToken}}`: `key "k": line 1, column 30, <call .AccessToken>: ` + cannot,
	`{{.ExpiresAt.Format .AccessToken.Nope}}`:           `key "k": line 1, column 32, <.AccessToken.Nope>: ` + cannot,
	`{{b64dec .AccessToken}}`:                           `key "k": line 1, column 2, <b64dec .AccessToken>: b64dec: this is not base64`,
	`{{printf "%*d" 9 1}}`:                              `key "k": line 1, column 2, <printf "%*d" 9 1>: printf takes no width of more than two digits, no * and no [n]`,
	`{{indent 100 "x"}}`:                                `key "k": line 1, column 2, <indent 100 "x">: indent takes 0 to 99 spaces`,
	`{{`:                                                `key "k": k:1: unclosed action`,
	`{{.AccessToken`:                                    `key "k": k:1: unclosed action`,
	`{{env "HOME"}}`:                                    `key "k": k:1: function "env" not defined`,
	`{{step -100}}`:                                     `key "k": k:1: function "step" not defined`,
	`{{range_operand 1}}`:                               `key "k": k:1: function "range_operand" not defined`,
}

func TestErrorsNameThePlaceAndNoValue(t *testing.T) {
	for template, want := range faults {
		data, err := Render(map[string]string{"k": template}, content())
		if err == nil || err.Error() != want || data != nil {
			t.Errorf("%s\n got %v\nwant %s", template, err, want)
		}
		if strings.Contains(err.Error(), canary) {
			t.Errorf("%s: the error shows the token: %v", template, err)
		}
	}
}

func TestValidateFindsWhatDoesNotDependOnClaims(t *testing.T) {
	for template, want := range faults {
		err := Validate(map[string]string{"k": template})
		if strings.Contains(template, ".Claims") {
			want = ""
		}
		if got := text(err); got != want {
			t.Errorf("%s\n got %s\nwant %s", template, got, want)
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestKeysMustBeKeysOfASecret(t *testing.T) {
	for key, ok := range map[string]bool{
		"access_token": true, "a.b-C": true, ".env": true,
		"": false, ".": false, "..": false, "..a": false, "a/b": false, "a b": false, "ü": false,
		strings.Repeat("a", 253): true, strings.Repeat("a", 254): false,
	} {
		templates := map[string]string{key: "x"}
		_, err := Render(templates, content())
		if invalid := Validate(templates); (err == nil) != ok || (invalid == nil) != ok {
			t.Errorf("key %q: Render %v, Validate %v; want accepted %t", key, err, invalid, ok)
		}
	}
}

func TestOneFaultPublishesNothing(t *testing.T) {
	if data, err := Render(map[string]string{"a": "good", "b": "{{.Foo}}"}, content()); data != nil || err == nil {
		t.Errorf("Render = %v, %v; want nothing and an error", data, err)
	}
}

func BenchmarkValidate(b *testing.B) {
	for name, templates := range map[string]map[string]string{
		"default keys": nil,
		"one template": {"config": "[nextcloud]\ntoken = {{ .AccessToken }}\nuntil = {{ .ExpiresAt }}\n"},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := Validate(templates); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRender(b *testing.B) {
	content := Content{AccessToken: sensitive.New(strings.Repeat("x", 900)), TokenType: "Bearer", IssuedAt: time.Unix(1795426038, 0), ExpiresAt: time.Unix(1795426338, 0)}
	for name, templates := range map[string]map[string]string{
		"default keys": nil,
		"a template":   {"header": "Authorization: {{.TokenType}} {{.AccessToken}}"},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Render(templates, content); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
