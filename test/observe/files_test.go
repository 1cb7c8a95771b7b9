package observe

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the copies in config/prometheus")

const (
	rulesFile     = "../../charts/tokengrant/files/rules.yaml"
	dashboardFile = "../../charts/tokengrant/files/dashboard.json"
	runbookURL    = "https://github.com/tokengrant/tokengrant/blob/main/docs/runbooks/"
)

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

type ruleFile struct {
	Groups []struct {
		Name  string `json:"name"`
		Rules []rule `json:"rules"`
	} `json:"groups"`
}

type rule struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

func rules(t *testing.T) []rule {
	t.Helper()
	var file ruleFile
	if err := yaml.UnmarshalStrict([]byte(read(t, rulesFile)), &file); err != nil {
		t.Fatal(err)
	}
	var all []rule
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) == 0 {
		t.Fatalf("%s has no rules", rulesFile)
	}
	return all
}

func TestEveryAlertHasARunbookAndEveryRunbookAnAlert(t *testing.T) {
	var alerts []string
	for _, r := range rules(t) {
		alerts = append(alerts, r.Alert)
		if want := runbookURL + r.Alert + ".md"; r.Annotations["runbook_url"] != want {
			t.Errorf("%s: runbook_url is %q, want %q", r.Alert, r.Annotations["runbook_url"], want)
		}
		for _, name := range []string{"summary", "description"} {
			if !strings.HasSuffix(strings.TrimSpace(r.Annotations[name]), ".") {
				t.Errorf("%s: the annotation %s is no sentence", r.Alert, name)
			}
		}
		if r.For == "" || !slices.Contains([]string{"warning", "critical"}, r.Labels["severity"]) {
			t.Errorf("%s: for and severity (warning or critical) are needed", r.Alert)
		}
	}
	pages, err := filepath.Glob("../../docs/runbooks/*.md")
	if err != nil {
		t.Fatal(err)
	}
	var runbooks []string
	for _, p := range pages {
		name := strings.TrimSuffix(filepath.Base(p), ".md")
		runbooks = append(runbooks, name)
		page := read(t, p)
		for _, r := range rules(t) {
			if r.Alert == name && !strings.Contains(page, "\nSeverity: "+r.Labels["severity"]+".\n") {
				t.Errorf("%s: the severity is not the rule's, %s", p, r.Labels["severity"])
			}
		}
		for _, heading := range []string{"# " + name, "## Impact", "## What to do", "## When it ends"} {
			if !strings.Contains("\n"+page, "\n"+heading+"\n") {
				t.Errorf("%s lacks the heading %q", p, heading)
			}
		}
	}
	slices.Sort(alerts)
	if diff := cmp.Diff(alerts, runbooks); diff != "" {
		t.Errorf("runbooks (-alerts +pages):\n%s", diff)
	}
}

// panel is of the dashboard what is looked at here.
type panel struct {
	Title       string     `json:"title"`
	Description string     `json:"description"`
	Type        string     `json:"type"`
	Datasource  datasource `json:"datasource"`
	GridPos     grid       `json:"gridPos"`
	Targets     []struct {
		RefID      string     `json:"refId"`
		Expr       string     `json:"expr"`
		Datasource datasource `json:"datasource"`
	} `json:"targets"`
	FieldConfig struct {
		Defaults struct {
			Unit string `json:"unit"`
		} `json:"defaults"`
	} `json:"fieldConfig"`
}

type datasource struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

type grid struct{ X, Y, W, H int }

func (g grid) overlaps(o grid) bool {
	return g.X < o.X+o.W && o.X < g.X+g.W && g.Y < o.Y+o.H && o.Y < g.Y+g.H
}

type dashboard struct {
	UID        string  `json:"uid"`
	Panels     []panel `json:"panels"`
	Templating struct {
		List []struct {
			Name string `json:"name"`
			Type string `json:"type"`
		} `json:"list"`
	} `json:"templating"`
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	var d dashboard
	if err := json.Unmarshal([]byte(read(t, dashboardFile)), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDashboardIsWhole(t *testing.T) {
	d := readDashboard(t)
	known := []string{"__rate_interval"}
	for _, v := range d.Templating.List {
		known = append(known, v.Name)
	}
	if len(d.Templating.List) == 0 || d.Templating.List[0].Type != "datasource" {
		t.Error("the first variable is not the datasource")
	}
	if d.UID == "" || len(d.Panels) == 0 {
		t.Error("the dashboard has no uid or no panels")
	}
	variable := regexp.MustCompile(`\$\{?(\w+)`)
	chosen := datasource{"prometheus", "${datasource}"}
	for i, p := range d.Panels {
		if p.Title == "" || p.Description == "" || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 {
			t.Errorf("panel %d %q: title, description, unit and a query are needed", i, p.Title)
		}
		if p.Datasource != chosen {
			t.Errorf("panel %q: its datasource is not the variable: %+v", p.Title, p.Datasource)
		}
		for _, q := range p.Targets {
			if q.Datasource != chosen {
				t.Errorf("panel %q, query %s: its datasource is not the variable", p.Title, q.RefID)
			}
			for _, m := range variable.FindAllStringSubmatch(q.Expr, -1) {
				if !slices.Contains(known, m[1]) {
					t.Errorf("panel %q: query with the variable %s, which there is not", p.Title, m[0])
				}
			}
		}
		if p.GridPos.X+p.GridPos.W > 24 || p.GridPos.W == 0 || p.GridPos.H == 0 {
			t.Errorf("panel %q does not fit the grid: %+v", p.Title, p.GridPos)
		}
		for _, o := range d.Panels[:i] {
			if p.GridPos.overlaps(o.GridPos) {
				t.Errorf("panel %q lies over %q", p.Title, o.Title)
			}
		}
	}
}

// TestEveryMetricOfAQueryIsDocumented: a renamed metric must not leave an alert behind that never fires.
func TestEveryMetricOfAQueryIsDocumented(t *testing.T) {
	table := read(t, "../../docs/observability.md")
	metric := regexp.MustCompile(`\btokengrant_\w+`)
	queries := map[string]string{}
	for _, r := range rules(t) {
		queries["alert "+r.Alert] = r.Expr
	}
	for _, p := range readDashboard(t).Panels {
		for _, q := range p.Targets {
			queries["panel "+p.Title+" "+q.RefID] = q.Expr
		}
	}
	for where, query := range queries {
		for _, name := range metric.FindAllString(query, -1) {
			if !strings.Contains(table, "\n| `"+strings.TrimSuffix(name, "_bucket")+"` |") {
				t.Errorf("%s asks for %s, which docs/observability.md does not have", where, name)
			}
		}
	}
}

// TestKustomizeHasTheSame: kustomize cannot reach files outside of its folder, so these are copies.
func TestKustomizeHasTheSame(t *testing.T) {
	indented := regexp.MustCompile(`(?m)^(.)`).ReplaceAllString(read(t, rulesFile), "  $1")
	object := fmt.Sprintf("# A copy of charts/tokengrant/files/rules.yaml: go test ./test/observe -update writes it.\n"+
		"apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: tokengrant\n  labels:\n    app.kubernetes.io/name: tokengrant\nspec:\n%s", indented)
	for path, want := range map[string]string{
		"../../config/prometheus/prometheusrule.yaml": object,
		"../../config/prometheus/dashboard.json":      read(t, dashboardFile),
	} {
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(want, read(t, path)); diff != "" {
			t.Errorf("%s (-want +got), go test ./test/observe -update writes it:\n%s", path, diff)
		}
	}
}
