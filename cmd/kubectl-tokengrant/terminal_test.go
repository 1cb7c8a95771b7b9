package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// hostile sets the title of a terminal, rings, goes back, clears, reverses and hides text, and begins a line like ours.
const hostile = "x\x1b]0;t\a\r\u009b2J\x7f\u202e\u2066\u200b\U000e0041\n  ok   forged"

// hostileGrant is one with hostile text wherever an issuer, a Nextcloud or a tenant writes.
func hostileGrant() *v1alpha1.TokenGrant {
	g := readyGrant()
	failing(g, v1alpha1.ReasonClientRejected, hostile)
	s := &g.Status
	s.Conditions[0].Status, s.Conditions[0].Reason, s.Conditions[0].Message = metav1.ConditionFalse, v1alpha1.Reason(hostile), hostile
	s.Conditions[1].Status, s.Conditions[1].Message = metav1.ConditionFalse, hostile
	s.LastAttempt.Reason = v1alpha1.Reason(hostile)
	s.Token.Username, s.Token.Subject, s.Token.ClientID = hostile, hostile, hostile
	s.Token.Audiences, s.Token.Scopes = []string{hostile}, []string{hostile}
	s.Check.User, s.Check.Groups = hostile, []string{hostile}
	g.Spec.ServiceAccount.ClientID, g.Spec.IssuerRef.Name = hostile, "keycloak"
	return g
}

// unprintable finds what would steer a terminal.
func unprintable(text string) int {
	return strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' })
}

func TestNoCommandLetsForeignTextSteerTheTerminal(t *testing.T) {
	for _, command := range []string{"status notes-sync", "status", "status -A", "inspect notes-sync", "renew notes-sync --wait=1ms", "renew --all --wait=0s", "doctor notes-sync", "doctor --cluster-issuer keycloak", "status " + hostile} {
		for _, output := range []string{"", "json", "yaml"} {
			t.Run(fmt.Sprintf("%.20q -o %q", command, output), func(t *testing.T) {
				g := hostileGrant()
				objects := []client.Object{clusterObjects()[0], published(t, g, map[string][]byte{"access_token": []byte(publishedToken(g))}), g}
				issuer := objects[0].(*v1alpha1.ClusterTokenIssuer)
				issuer.Status.Conditions = []metav1.Condition{condition(v1alpha1.ConditionReady, metav1.ConditionFalse, "Reason", hostile)}
				b := newBench(t, interceptor.Funcs{}, objects...)
				name, rest, _ := strings.Cut(command, " ")
				args := []string{name}
				if rest != "" {
					args = append(args, strings.SplitN(rest, " ", 2)...)
				}
				b.run(t.Context(), append(args, "-n", "apps", "-o", output))
				out, errOut := b.out.String(), b.errOut.String()
				if at := unprintable(out + errOut); at >= 0 || strings.Contains("\n"+out+errOut, "\n  ok   forged") {
					t.Fatalf("character %d of %q", at, out+errOut)
				}
				if out+errOut == "" {
					t.Error("nothing is printed")
				}
				var object any
				switch output {
				case "json":
					if err := json.NewDecoder(strings.NewReader(out)).Decode(&object); err != nil && out != "" {
						t.Errorf("no JSON: %v: %s", err, out)
					}
				case "yaml":
					if err := yaml.Unmarshal([]byte(out), &object); err != nil || strings.Contains(errOut, "yaml:") {
						t.Errorf("no YAML: %v: %s", err, out)
					}
				}
			})
		}
	}
}

// FuzzOutput prints any text as a value: a reader of JSON and YAML gets it back, and a terminal gets one line.
func FuzzOutput(f *testing.F) {
	f.Add(hostile)
	f.Add("\u0085\u2028\ufeff\ufffd\u00a0 \t")
	f.Add("alice")
	f.Fuzz(func(t *testing.T, text string) {
		want := map[string]any{"value": strings.ToValidUTF8(text, "\ufffd")}
		for format, read := range map[string]func([]byte, any) error{
			"json": json.Unmarshal,
			"yaml": func(content []byte, into any) error { return yaml.Unmarshal(content, into) },
		} {
			b := newBench(t, interceptor.Funcs{})
			b.output = format
			if err := b.print(map[string]any{"value": want["value"]}, nil); err != nil {
				t.Fatal(err)
			}
			var got map[string]any
			if err := read(b.out.Bytes(), &got); err != nil {
				t.Fatalf("%s: %v: %q", format, err, b.out.String())
			}
			if at := unprintable(strings.ReplaceAll(b.out.String(), "\t", "")); at >= 0 {
				t.Errorf("character %d of %q", at, b.out.String())
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", format, diff)
			}
		}
		b := newBench(t, interceptor.Funcs{})
		b.line(stateOK, text, text)
		printf(&b.out, "%s, %s, %q, %s\n", text, text, text, fmt.Errorf("%s", text))
		table(&b.out, [][]string{{text, text}})
		if at := unprintable(b.out.String()); at >= 0 || strings.Count(b.out.String(), "\n") != 3 {
			t.Errorf("character %d of %q", at, b.out.String())
		}
	})
}

// TestWarningsOfTheAPIServerKeepTheirLines: client-go writes them to the terminal.
func TestWarningsOfTheAPIServerKeepTheirLines(t *testing.T) {
	var out strings.Builder
	text := "Warning: " + hostile + "\n"
	if n, err := (warnings{&out}).Write([]byte(text)); n != len(text) || err != nil || unprintable(out.String()) >= 0 {
		t.Errorf("wrote %d, %v: %q", n, err, out.String())
	}
}
