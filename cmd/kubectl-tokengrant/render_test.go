package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

const grantHead = "apiVersion: tokengrant.dev/v1alpha1\nkind: TokenGrant\nmetadata: {name: app, namespace: apps}\nspec:\n  issuerRef: {name: keycloak}\n"

func TestRenderNeedsNoCluster(t *testing.T) {
	for name, test := range map[string]struct {
		input string
		code  int
		args  []string
	}{
		"render": {input: grantHead + "  exchange: {audiences: [nextcloud]}\n"},
		"render-templates": {input: grantHead + `  serviceAccount: {clientID: app, clientSecret: {secretRef: {name: app}}}
  delivery:
    secret:
      name: app-token
      labels: {team: notes}
      annotations: {note: hello}
      data:
        authorization: "{{ .TokenType }} {{ .AccessToken }}"
        expiry: "{{ .ExpiresAt.Unix }} {{ .Claims.preferred_username }}"
`},
		"render-yaml":           {input: grantHead, args: []string{"-o", "yaml"}},
		"render-json":           {input: grantHead, args: []string{"-o", "json"}},
		"render-two":            {input: "apiVersion: v1\nkind: Namespace\nmetadata: {name: apps}\n---\n" + grantHead + "---\n" + strings.Replace(grantHead, "name: app,", "name: other,", 1), args: []string{"-o", "yaml"}},
		"render-bad-template":   {code: exitBroken, input: grantHead + "  delivery: {secret: {data: {a: '{{ .AccessToken'}}}\n"},
		"render-unknown-field":  {code: exitBroken, input: grantHead + "  delivery: {secret: {data: {a: '{{ .Token }}'}}}\n"},
		"render-unknown-claim":  {code: exitBroken, input: grantHead + "  delivery: {secret: {data: {a: '{{ .Claims.email }}'}}}\n"},
		"render-environment":    {code: exitBroken, input: grantHead + "  delivery: {secret: {data: {a: '{{ env \"HOME\" }}'}}}\n"},
		"render-misspelt-field": {code: exitBroken, input: grantHead + "  secrets: {name: app}\n"},
		"render-no-grant":       {code: exitBroken, input: "apiVersion: v1\nkind: Namespace\nmetadata: {name: apps}\n"},
		"render-no-yaml":        {code: exitBroken, input: "a: [\n"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, interceptor.Funcs{})
			b.connect = func() (client.Client, error) {
				t.Error("render asks for a cluster")
				return nil, errBroken
			}
			b.In = strings.NewReader(test.input)
			b.golden(t, name, test.code, append([]string{"render", "-f", "-"}, test.args...)...)
		})
	}
}

func TestRenderReadsAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "grant.yaml")
	if err := os.WriteFile(file, []byte(grantHead), 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBench(t, interceptor.Funcs{})
	if code := b.run(t.Context(), []string{"render", "-f", file}); code != exitGood || !strings.Contains(b.out.String(), "access_token: eyJ") {
		t.Errorf("exit code %d: %s%s", code, b.out.String(), b.errOut.String())
	}
	if code := b.run(t.Context(), []string{"render", "-f", file + "x"}); code != exitBroken {
		t.Errorf("exit code %d for a file that is not there", code)
	}
}
