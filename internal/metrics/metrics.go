// Package metrics has what Prometheus learns of the operator: one Recorder, which is the prometheus.Collector of every
// metric of our own.
//
// What is true now comes from the caches at the time of the scrape, so that the series of an object end with the object.
// What happened is counted as it happens, by issuer, and is forgotten when the issuer is gone. Only the replica that works
// tells of grants and issuers; the others say no more than that they wait.
//
// Labels are names of objects and words of our own lists. Nothing that a server answers becomes a label.
// docs/observability.md lists the metrics; a test keeps it so.
package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"

	"github.com/tokengrant/tokengrant/internal/stage"
)

// Issuer names an issuer in labels. Namespace is empty for a ClusterTokenIssuer. Of the issuers of a namespace that tenants
// name, 50 have series of their own, and the rest shares the name "other".
type Issuer struct{ Kind, Namespace, Name string }

var byIssuer = []string{"issuer_kind", "issuer_namespace", "issuer_name"}

func (i Issuer) values(more ...string) []string {
	return append([]string{i.Kind, i.Namespace, i.Name}, more...)
}

// Recorder collects the metrics of one operator. It is safe for concurrent use.
type Recorder struct {
	clock clock.PassiveClock

	durations, waits, lateness, remaining *prometheus.HistogramVec
	outcomes, published                   *prometheus.CounterVec

	mu     sync.Mutex
	source *Source
	// seen are the issuers with series, of how many there are of a kind and a namespace.
	seen map[Issuer]bool
	of   map[Issuer]int
}

// New returns a Recorder without a source: it says only that this replica does not work.
func New(c clock.PassiveClock) *Recorder {
	histogram := func(name, help string, buckets []float64, more ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, append(byIssuer, more...))
	}
	counter := func(name, help string, more ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append(byIssuer, more...))
	}
	return &Recorder{
		clock: c,
		durations: histogram("tokengrant_stage_duration_seconds",
			"How long a stage took, by the issuer of the grant; a token request includes the wait for its turn.",
			[]float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}, "stage"),
		outcomes: counter("tokengrant_stages_total",
			"Stages that ended, by outcome: Success, a reason, Cancelled (the operator stops) or Error (the API server).", "stage", "outcome"),
		waits: histogram("tokengrant_issuer_limiter_wait_seconds",
			"How long requests waited for the issuer's own limits (spec.limits), those that waited in vain (5 s) included.",
			[]float64{.001, .01, .1, .25, .5, 1, 2.5, 5}),
		lateness: histogram("tokengrant_refresh_lateness_seconds",
			"How long after its time a due refresh was published.",
			[]float64{.25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600}),
		remaining: histogram("tokengrant_refresh_remaining_seconds",
			"How much life the old token had left when a due refresh was published; 0 when it had expired.",
			[]float64{0, 1, 5, 15, 30, 60, 120, 300, 900, 3600, 14400, 86400}),
		published: counter("tokengrant_tokens_published_total",
			"Tokens that were minted and published, by what called for them.", "cause"),
		seen: map[Issuer]bool{}, of: map[Issuer]int{},
	}
}

func (r *Recorder) vectors() []vector {
	return []vector{r.durations.MetricVec, r.outcomes.MetricVec, r.waits.MetricVec, r.lateness.MetricVec, r.remaining.MetricVec, r.published.MetricVec}
}

type vector interface {
	prometheus.Collector
	DeletePartialMatch(labels prometheus.Labels) int
}

// Refresh is a token that took the place of another because its time had come.
type Refresh struct{ Due, OldExpires, Published time.Time }

// Published counts a token that was published for the first time or for another cause than its time, or, with a
// refresh, because its time had come.
func (r *Recorder) Published(issuer Issuer, cause string, refresh *Refresh) {
	if r == nil {
		return
	}
	issuer = r.named(issuer)
	r.published.WithLabelValues(issuer.values(cause)...).Inc()
	if refresh == nil {
		return
	}
	r.lateness.WithLabelValues(issuer.values()...).Observe(max(refresh.Published.Sub(refresh.Due).Seconds(), 0))
	if refresh.OldExpires.IsZero() {
		return // An app password has no end.
	}
	r.remaining.WithLabelValues(issuer.values()...).Observe(max(refresh.OldExpires.Sub(refresh.Published).Seconds(), 0))
}

// For returns what is told of the stages that run for an issuer; nil without a Recorder.
func (r *Recorder) For(issuer Issuer) stage.Observer {
	if r == nil {
		return nil
	}
	return observer{r, issuer}
}

type observer struct {
	recorder *Recorder
	issuer   Issuer
}

func (o observer) Now() time.Time { return o.recorder.clock.Now() }

func (o observer) Ended(name, outcome string, took time.Duration) {
	issuer := o.recorder.named(o.issuer)
	o.recorder.durations.WithLabelValues(issuer.values(name)...).Observe(took.Seconds())
	o.recorder.outcomes.WithLabelValues(issuer.values(name, outcome)...).Inc()
}

func (o observer) Waited(took time.Duration) {
	o.recorder.waits.WithLabelValues(o.recorder.named(o.issuer).values()...).Observe(took.Seconds())
}
