//go:build integration

package observe

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

const prometheusConfig = `
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [rules.yaml]
scrape_configs:
- job_name: tokengrant
  scheme: https
  tls_config: {insecure_skip_verify: true}
  authorization: {credentials_file: token}
  static_configs: [{targets: [%q]}]
`

// prometheus is a real one. It scrapes the operator each second, with the rules as they are shipped but for their waits.
type prometheus struct {
	t     *testing.T
	url   string
	since time.Time
}

func newPrometheus(t *testing.T, c *cluster) *prometheus {
	t.Helper()
	target, err := url.Parse(c.operator.MetricsURL)
	if err != nil {
		t.Fatal(err)
	}
	dir := place(t, map[string]string{
		"prometheus.yaml": fmt.Sprintf(prometheusConfig, target.Host),
		"rules.yaml":      regexp.MustCompile(`(?m)^( +for: ).*$`).ReplaceAllString(read(t, rulesFile), "${1}1s"),
		"token":           c.prometheus,
	})
	p := &prometheus{t: t, url: "http://" + freeAddress(t), since: time.Now()}
	var log bytes.Buffer
	cmd := exec.Command(program(t, "prometheus", "prometheus"), "--config.file="+filepath.Join(dir, "prometheus.yaml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+strings.TrimPrefix(p.url, "http://"), "--log.level=warn")
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("prometheus:\n%s", &log)
		}
	})
	eventually(t, "Prometheus scrapes the operator", func() (bool, string) {
		seen := p.query("up")
		return len(seen) == 1 && seen[0].Value[1] == "1", fmt.Sprint(seen)
	})
	return p
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// series is one of an answer. Value is a time and a number; Values are those of a range.
type series struct {
	Metric map[string]string `json:"metric"`
	Value  [2]any            `json:"value"`
	Values [][2]any          `json:"values"`
}

// query answers now; without a series as long as Prometheus does not answer.
func (p *prometheus) query(expr string) []series {
	found, err := p.get("query", url.Values{"query": {expr}})
	if err != nil {
		return nil
	}
	return found
}

// history answers for the whole time since the start.
func (p *prometheus) history(expr string) ([]series, error) {
	return p.get("query_range", url.Values{
		"query": {expr}, "step": {"1"},
		"start": {p.since.Format(time.RFC3339)}, "end": {time.Now().Format(time.RFC3339)},
	})
}

func (p *prometheus) get(call string, form url.Values) ([]series, error) {
	resp, err := http.PostForm(p.url+"/api/v1/"+call, form)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var answer struct {
		Error string `json:"error"`
		Data  struct {
			Result []series `json:"result"`
		} `json:"data"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return nil, err
	}
	if answer.Error != "" {
		return nil, fmt.Errorf("%s", answer.Error)
	}
	return answer.Data.Result, nil
}

// awaitAlert waits until an alert fires for the object of a name; "" where it has none.
func (p *prometheus) awaitAlert(alert, label, name string) {
	p.t.Helper()
	selector := fmt.Sprintf(`ALERTS{alertname=%q,alertstate="firing",%s=%q}`, alert, label, name)
	eventually(p.t, alert+" fires for "+name, func() (bool, string) { return len(p.query(selector)) > 0, p.firing() })
}

// awaitSilence waits until no alert fires or is about to.
func (p *prometheus) awaitSilence() {
	p.t.Helper()
	eventually(p.t, "all alerts are resolved", func() (bool, string) {
		seen := p.query("count(ALERTS) or vector(0)")
		return len(seen) == 1 && seen[0].Value[1] == "0", p.firing()
	})
}

func (p *prometheus) firing() string {
	var alerts []string
	for _, s := range p.query("ALERTS") {
		alerts = append(alerts, fmt.Sprint(s.Metric))
	}
	return strings.Join(alerts, "\n")
}
