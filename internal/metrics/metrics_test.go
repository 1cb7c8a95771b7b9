package metrics

import (
	"flag"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

var update = flag.Bool("update", false, "write the table of metrics into docs/observability.md")

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

var (
	mine   = Issuer{"TokenIssuer", "apps", "kc"}
	shared = Issuer{Kind: "ClusterTokenIssuer", Name: "keycloak"}
)

func grant(name string, change ...func(*v1alpha1.TokenGrant)) v1alpha1.TokenGrant {
	g := v1alpha1.TokenGrant{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: name}}
	g.Spec.IssuerRef = v1alpha1.IssuerRef{Kind: "TokenIssuer", Name: "kc"}
	for _, f := range change {
		f(&g)
	}
	return g
}

func condition(kind string, status metav1.ConditionStatus, reason string) func(*v1alpha1.TokenGrant) {
	return func(g *v1alpha1.TokenGrant) {
		g.Status.Conditions = append(g.Status.Conditions, metav1.Condition{Type: kind, Status: status, Reason: reason})
	}
}

func held(refreshAt, expiresAt time.Time) func(*v1alpha1.TokenGrant) {
	return func(g *v1alpha1.TokenGrant) {
		at := metav1.NewTime(refreshAt)
		g.Status.RefreshAt = &at
		g.Status.Token = &v1alpha1.TokenStatus{ExpiresAt: metav1.NewTime(expiresAt)}
	}
}

func failing(n int32, reason string) func(*v1alpha1.TokenGrant) {
	return func(g *v1alpha1.TokenGrant) {
		g.Status.ConsecutiveFailures = n
		g.Status.LastAttempt = &v1alpha1.Attempt{Reason: reason}
	}
}

// world is what the caches of a test hold.
type world struct {
	*Recorder
	works   bool
	grants  []v1alpha1.TokenGrant
	issuers []IssuerState
}

func newWorld() *world {
	w := &world{Recorder: New(clocktesting.NewFakePassiveClock(noon))}
	w.Watch(w.source())
	return w
}

func (w *world) source() Source {
	return Source{
		Works:   func() bool { return w.works },
		Grants:  func() ([]v1alpha1.TokenGrant, error) { return w.grants, nil },
		Issuers: func() ([]IssuerState, error) { return w.issuers, nil },
	}
}

// busy is a world in which there is a series of every metric.
func busy() *world {
	w := newWorld()
	w.works = true
	w.Watch(w.source())
	w.grants = []v1alpha1.TokenGrant{
		grant("good", held(noon.Add(time.Minute), noon.Add(2*time.Minute)),
			condition("Ready", "True", "Published"), condition("CheckPassed", "True", "NextcloudAccepted")),
		grant("late", held(noon.Add(-11*time.Second), noon.Add(time.Minute)), failing(3, "IssuerUnreachable"),
			condition("Ready", "True", "Published"), condition("CheckPassed", "Unknown", "NextcloudUnreachable")),
		grant("rejected", condition("Ready", "False", "NextcloudRejected"), condition("CheckPassed", "False", "NextcloudRejected"),
			func(g *v1alpha1.TokenGrant) {
				g.Spec.IssuerRef = v1alpha1.IssuerRef{Kind: "ClusterTokenIssuer", Name: "keycloak"}
			}),
		grant("new", func(g *v1alpha1.TokenGrant) { g.Spec.Suspend = true }),
	}
	w.issuers = []IssuerState{
		{Issuer: mine, Ready: "True", Breaker: "closed", SubjectTokens: 2},
		{Issuer: shared, Ready: "False", Breaker: "open"},
		{Issuer: Issuer{"TokenIssuer", "apps", "unknown"}, Ready: "Unknown"},
	}
	w.For(mine).Ended("token_exchange", "Success", 30*time.Millisecond)
	w.For(shared).Ended("token_exchange", "IssuerUnreachable", 2*time.Second)
	w.For(mine).Waited(5 * time.Millisecond)
	w.Published(mine, "Missing", nil)
	w.Published(mine, "Due", &Refresh{Due: noon.Add(-2 * time.Second), OldExpires: noon.Add(28 * time.Second), Published: noon})
	w.Published(mine, "Due", &Refresh{Due: noon.Add(-2 * time.Minute), OldExpires: noon.Add(-time.Minute), Published: noon})
	return w
}

// scrape gives the series as Prometheus gets them, without buckets and comments. It fails on what is not consistent.
func (w *world) scrape(t *testing.T) []string {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(w); err != nil {
		t.Fatal(err)
	}
	answer := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	if answer.Code != 200 {
		t.Fatal(answer.Body.String())
	}
	var series []string
	for line := range strings.Lines(answer.Body.String()) {
		if !strings.HasPrefix(line, "#") && !strings.Contains(line, "_bucket{") {
			series = append(series, strings.TrimSpace(line))
		}
	}
	return series
}

func TestSeriesOfWhatThereIs(t *testing.T) {
	want := strings.Split(strings.TrimSpace(read(t, "testdata/series.txt")), "\n")
	got := busy().scrape(t)
	if *update {
		write(t, "testdata/series.txt", strings.Join(got, "\n")+"\n")
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("series (-want +got), go test ./internal/metrics -update writes them:\n%s", diff)
	}
}

func TestAReplicaThatWaitsTellsNothingElse(t *testing.T) {
	w := busy()
	w.works = false
	w.Watch(w.source())
	if diff := cmp.Diff([]string{"tokengrant_leader 0"}, w.scrape(t)); diff != "" {
		t.Errorf("series (-want +got):\n%s", diff)
	}
}

func TestSeriesEndWithTheirObject(t *testing.T) {
	w := busy()
	w.scrape(t)
	w.grants, w.issuers = w.grants[:1], w.issuers[1:]
	for _, line := range w.scrape(t) {
		for _, gone := range []string{`name="late"`, `name="rejected"`, `issuer_name="kc",state`, `issuer_name="kc",stage`} {
			if strings.Contains(line, gone) {
				t.Errorf("stale series: %s", line)
			}
		}
	}
	w.grants, w.issuers = nil, nil
	w.Watch(w.source())
	if diff := cmp.Diff([]string{"tokengrant_leader 1", "tokengrant_overdue_grants 0"}, w.scrape(t)); diff != "" {
		t.Errorf("series when all are gone (-want +got):\n%s", diff)
	}
}

// TestEveryMetricIsDocumented: the table in docs/observability.md is what a scrape says of itself.
func TestEveryMetricIsDocumented(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(busy())
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	rows := []string{"| metric | kind | labels | what it says |", "|---|---|---|---|"}
	for _, f := range families {
		var labels []string
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if !slices.Contains(labels, "`"+l.GetName()+"`") {
					labels = append(labels, "`"+l.GetName()+"`")
				}
			}
		}
		rows = append(rows, "| `"+f.GetName()+"` | "+strings.ToLower(f.GetType().String())+" | "+strings.Join(labels, ", ")+" | "+f.GetHelp()+" |")
	}
	const page, first, last = "../../docs/observability.md", "<!-- metrics -->\n", "<!-- /metrics -->\n"
	content := read(t, page)
	head, rest, ok := strings.Cut(content, first)
	table, tail, closed := strings.Cut(rest, last)
	if !ok || !closed {
		t.Fatalf("%s lacks the markers %q and %q", page, first, last)
	}
	want := "\n" + strings.Join(rows, "\n") + "\n\n"
	if *update {
		write(t, page, head+first+want+last+tail)
		return
	}
	if diff := cmp.Diff(want, table); diff != "" {
		t.Errorf("table in %s (-want +got), go test ./internal/metrics -update writes it:\n%s", page, diff)
	}
	described := make(chan *prometheus.Desc, 100)
	New(clocktesting.NewFakePassiveClock(noon)).Describe(described)
	if len(described) != len(families) {
		t.Errorf("%d metrics are described, %d have a series in this test: the table may lack some", len(described), len(families))
	}
}

func TestNoRecorderIsNoTrouble(t *testing.T) {
	var r *Recorder
	r.Watch(Source{})
	r.Published(mine, "Due", &Refresh{})
	if r.For(mine) != nil {
		t.Error("an observer without a recorder")
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil && !*update {
		t.Fatal(err)
	}
	return string(content)
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
