//go:build integration

package tenant

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
)

// words are attempts with names and URLs that mean something to a shell, a terminal or Prometheus.
var words = []attempt{
	{"have an administrator run a command that is part of a URL or a client id", func(w *world) (got, harm string) {
		mark := filepath.Join(w.t.TempDir(), "ran")
		w.issuer("kc", w.good.URL)
		for n, id := range []string{"$(touch${IFS}" + mark + ")", "`touch " + mark + "`", "x' ; touch " + mark + " ; '", "a -r master b", "--config=" + mark} {
			g := grantOf(own, fmt.Sprintf("shell-%d", n), "kc", func(g *v1alpha1.TokenGrant) { g.Spec.ServiceAccount.ClientID = id })
			if err := w.tenant.Create(w.t.Context(), g); err != nil {
				got = "refused: " + err.Error()
				continue
			}
			w.condition(g)
			printed := w.administrator("doctor", g.Name, "-n", own) + w.administrator("status", "-n", own)
			if _, err := os.Stat(mark); err == nil {
				return printed, "the plugin ran it"
			}
			paste(printed)
			if _, err := os.Stat(mark); err == nil {
				return printed, "what doctor prints runs it when it is pasted"
			}
			got = "commands with the value in quotes, or none"
		}
		return got, harm
	}},
	{"write escape sequences to an administrator's terminal", func(w *world) (got, harm string) {
		w.issuer("own", w.evil.URL)
		w.evil.Script(keycloaktest.Answer{Status: 400, Body: `{"error":"invalid_client","error_description":"\u001b]0;owned\u0007\u001b[2J\u202edrowssap"}`, Forever: true})
		g := grantOf(own, "terminal", "own")
		w.apply(g)
		c := w.condition(g)
		printed := w.administrator("status", "-n", own) + w.administrator("doctor", g.Name, "-n", own) + c.Message
		for _, r := range printed {
			if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
				return printed, fmt.Sprintf("the terminal gets %U", r)
			}
		}
		return c.Reason + ": " + c.Message, ""
	}},
	{"break every scrape by a host that is no text", func(w *world) (got, harm string) {
		i := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: own, Name: "bytes"}}
		i.Spec.URL = "https://id.example.com%ff%fe/realms/x"
		g := grantOf(own, "bytes", "own", func(g *v1alpha1.TokenGrant) {
			g.Spec.Check = &v1alpha1.Check{Nextcloud: &v1alpha1.NextcloudCheck{URL: "https://cloud.example.com%ff"}}
		})
		got, harm = refused(w.tenant.Create(w.t.Context(), i))
		if harm == "" {
			_, harm = refused(w.tenant.Create(w.t.Context(), g))
		}
		if problem := w.scrape(); problem != "" {
			return got, problem
		}
		return got, harm
	}},
}

// numbers come last: they use up what a namespace may have looked at in a minute.
var numbers = []attempt{
	{"make 200 label values for Prometheus", func(w *world) (got, harm string) {
		for n := range 200 {
			w.issuer(fmt.Sprintf("many-%03d", n), fmt.Sprintf("http://127.0.0.1:1/realms/%d", n))
		}
		time.Sleep(3 * time.Second)
		_, body := w.endpoint("/metrics", w.scraperToken)
		named := map[string]bool{}
		for line := range strings.Lines(string(body)) {
			if _, rest, ok := strings.Cut(line, `issuer_name="`); ok && strings.Contains(rest, "many-") {
				name, _, _ := strings.Cut(rest, `"`)
				named[name] = true
			}
		}
		got = fmt.Sprintf("%d values of the label issuer_name, a page of %d KiB", len(named), len(body)>>10)
		if problem := w.scrape(); problem != "" {
			return got, problem
		}
		if len(named) > 50 || len(named) == 0 {
			return got, "not between 1 and 50"
		}
		return got, ""
	}},
}

// paste runs each line of a text as if an administrator had pasted it. The programs that it would call are not there.
func paste(text string) {
	for line := range strings.Lines(text) {
		cmd := exec.Command("sh", "-c", strings.TrimLeft(strings.TrimSpace(line), "$# "))
		cmd.Env = []string{"PATH=/usr/bin:/bin", "KUBECONFIG=/nonexistent"}
		_ = cmd.Run()
	}
}

// scrape reads the metrics as Prometheus does, and says what is wrong with them.
func (w *world) scrape() (problem string) {
	w.t.Helper()
	status, body := w.endpoint("/metrics", w.scraperToken)
	if status != 200 {
		return fmt.Sprintf("a scrape is answered with %d", status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	if _, err := parser.TextToMetricFamilies(bytes.NewReader(body)); err != nil {
		return "the metrics cannot be read: " + err.Error()
	}
	return ""
}
