package metrics

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
)

// Source is where a Recorder looks at a scrape.
type Source struct {
	// Works says whether this replica works.
	Works func() bool
	// Grants and Issuers list what there is, from a cache. What they return is only read.
	Grants  func() ([]v1alpha1.TokenGrant, error)
	Issuers func() ([]IssuerState, error)
}

// IssuerState is an issuer at a moment.
type IssuerState struct {
	Issuer
	// Ready is the condition; Unknown before the first discovery.
	Ready metav1.ConditionStatus
	// Breaker is closed, half-open or open; empty when the issuer was never connected to.
	Breaker       string
	SubjectTokens int
}

// breakerStates are those of sony/gobreaker.
var breakerStates = []string{"closed", "half-open", "open"}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

var byGrant = []string{"namespace", "name"}

var (
	leaderDesc = desc("tokengrant_leader", "1 on a replica that works, 0 on one that waits.")
	grantsDesc = desc("tokengrant_grants", "Grants by the status and the reason of their condition Ready.", "ready", "reason")
	overdue    = desc("tokengrant_overdue_grants",
		"Grants whose refresh is more than 10 s late. Above zero for minutes: the issuer fails, or the queue has stopped.")
	infoDesc = desc("tokengrant_grant_info", "1 for each grant, with its issuer.",
		append(append(byGrant, byIssuer...), "suspended")...)
	readyDesc    = desc("tokengrant_grant_ready", "1 while the grant is Ready, else 0.", byGrant...)
	acceptedDesc = desc("tokengrant_grant_accepted",
		"Nextcloud's latest word: 1 accepted, 0 rejected; absent when it gave none.", byGrant...)
	failuresDesc = desc("tokengrant_grant_failures",
		"Tries to mint or check that failed since the last good one, with the reason of the latest; absent when none did.",
		append(byGrant, "reason")...)
	expiryDesc = desc("tokengrant_grant_token_expiry_timestamp_seconds", "When the published token expires.", byGrant...)
	dueDesc    = desc("tokengrant_grant_refresh_due_timestamp_seconds", "When the published token is to be replaced.", byGrant...)

	issuerReadyDesc = desc("tokengrant_issuer_ready", "1 while the issuer is Ready, 0 while it is not; absent before its first discovery.", byIssuer...)
	breakerDesc     = desc("tokengrant_issuer_breaker_state", "1 for the state of the issuer's circuit breaker, 0 for the others.", append(byIssuer, "state")...)
	subjectsDesc    = desc("tokengrant_issuer_subject_tokens", "Subject tokens of the issuer that are held in memory and shared.", byIssuer...)
)

// Watch gives the Recorder its source.
func (r *Recorder) Watch(s Source) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.source = &s
}

// Describe implements prometheus.Collector.
func (r *Recorder) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		leaderDesc, grantsDesc, overdue, infoDesc, readyDesc, acceptedDesc, failuresDesc, expiryDesc, dueDesc,
		issuerReadyDesc, breakerDesc, subjectsDesc,
	} {
		out <- d
	}
	for _, v := range r.vectors() {
		v.Describe(out)
	}
}

// Collect implements prometheus.Collector.
func (r *Recorder) Collect(out chan<- prometheus.Metric) {
	r.mu.Lock()
	source := r.source
	r.mu.Unlock()
	works := source != nil && source.Works()
	gauge(out, leaderDesc, number(works))
	if !works {
		return
	}
	grants, err := source.Grants()
	if err != nil {
		out <- prometheus.NewInvalidMetric(grantsDesc, err)
		return
	}
	issuers, err := source.Issuers()
	if err != nil {
		out <- prometheus.NewInvalidMetric(issuerReadyDesc, err)
		return
	}
	collectGrants(out, grants, r.clock.Now())
	own, rest := split(slices.Clone(issuers), func(i IssuerState) (string, string) { return i.Namespace, i.Name })
	for _, i := range own {
		collectIssuer(out, i)
	}
	collectOthers(out, rest)
	r.forgetOthers(issuers, grants)
	for _, v := range r.vectors() {
		v.Collect(out)
	}
}

func collectGrants(out chan<- prometheus.Metric, grants []v1alpha1.TokenGrant, now time.Time) {
	type readiness struct{ status, reason string }
	count, late := map[readiness]int{}, 0
	list := make([]*v1alpha1.TokenGrant, len(grants))
	for i := range grants {
		g := &grants[i]
		list[i] = g
		is := readiness{string(metav1.ConditionUnknown), v1alpha1.ReasonPending}
		if c := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionReady); c != nil {
			is = readiness{string(c.Status), label(c.Reason)}
		}
		count[is]++
		if plan.Overdue(g, now) {
			late++
		}
	}
	own, rest := split(list, func(g *v1alpha1.TokenGrant) (string, string) { return g.Namespace, g.Name })
	for _, g := range own {
		issuer := IssuerOf(g)
		gauge(out, infoDesc, 1, g.Namespace, g.Name, issuer.Kind, issuer.Namespace, label(issuer.Name), strconv.FormatBool(g.Spec.Suspend))
		collectGrant(out, stateOf(g))
	}
	for _, s := range worst(rest) {
		collectGrant(out, s)
	}
	for is, n := range count {
		gauge(out, grantsDesc, float64(n), is.status, is.reason)
	}
	gauge(out, overdue, float64(late))
}

// state is what the series of a grant tell.
type state struct {
	namespace, name string
	ready           bool
	failures        int32
	reason          string
	// These are absent when nil.
	accepted, expires, due *float64
}

func stateOf(g *v1alpha1.TokenGrant) state {
	s := state{namespace: g.Namespace, name: g.Name, ready: meta.IsStatusConditionTrue(g.Status.Conditions, v1alpha1.ConditionReady)}
	if c := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionCheckPassed); c != nil && c.Status != metav1.ConditionUnknown {
		s.accepted = new(number(c.Status == metav1.ConditionTrue))
	}
	if last := g.Status.LastAttempt; last != nil && g.Status.ConsecutiveFailures > 0 {
		s.failures, s.reason = g.Status.ConsecutiveFailures, label(last.Reason)
	}
	if t := g.Status.Token; t != nil && !t.ExpiresAt.IsZero() { // An app password has no end.
		s.expires = new(float64(t.ExpiresAt.Unix()))
	}
	if at := g.Status.RefreshAt; at != nil {
		s.due = new(float64(at.Unix()))
	}
	return s
}

func collectGrant(out chan<- prometheus.Metric, s state) {
	gauge(out, readyDesc, number(s.ready), s.namespace, s.name)
	for d, value := range map[*prometheus.Desc]*float64{acceptedDesc: s.accepted, expiryDesc: s.expires, dueDesc: s.due} {
		if value != nil {
			gauge(out, d, *value, s.namespace, s.name)
		}
	}
	if s.failures > 0 {
		gauge(out, failuresDesc, float64(s.failures), s.namespace, s.name, s.reason)
	}
}

// kindNextcloud stands for the issuer where a grant's app password comes from: a Nextcloud, by its host, of the grant's
// namespace.
const kindNextcloud = "Nextcloud"

// IssuerOf names the issuer of a grant.
func IssuerOf(g *v1alpha1.TokenGrant) Issuer {
	if g.Spec.AppPassword != nil {
		i := Issuer{Kind: kindNextcloud, Namespace: g.Namespace}
		if u, err := url.Parse(string(g.Spec.AppPassword.Nextcloud.URL)); err == nil {
			i.Name = u.Host
		}
		return i
	}
	i := Issuer{Kind: cmp.Or(g.Spec.IssuerRef.Kind, "TokenIssuer"), Namespace: g.Namespace, Name: g.Spec.IssuerRef.Name}
	if i.Kind == "ClusterTokenIssuer" {
		i.Namespace = ""
	}
	return i
}

func collectIssuer(out chan<- prometheus.Metric, i IssuerState) {
	if i.Ready != metav1.ConditionUnknown {
		gauge(out, issuerReadyDesc, number(i.Ready == metav1.ConditionTrue), i.values()...)
	}
	if i.Breaker == "" {
		return
	}
	for _, state := range breakerStates {
		gauge(out, breakerDesc, number(state == i.Breaker), i.values(state)...)
	}
	gauge(out, subjectsDesc, float64(i.SubjectTokens), i.values()...)
}

// collectOthers tells of the issuers of a namespace that have no series of their own: ready when all are.
func collectOthers(out chan<- prometheus.Metric, rest []IssuerState) {
	ready := map[Issuer]bool{}
	for _, i := range rest {
		i.Name = other
		if known, seen := ready[i.Issuer]; i.Ready != metav1.ConditionUnknown {
			ready[i.Issuer] = i.Ready == metav1.ConditionTrue && (known || !seen)
		}
	}
	for i, all := range ready {
		gauge(out, issuerReadyDesc, number(all), i.values()...)
	}
}

// forgetOthers drops the series of issuers that are gone.
func (r *Recorder) forgetOthers(issuers []IssuerState, grants []v1alpha1.TokenGrant) {
	there := map[Issuer]bool{}
	add := func(i Issuer) {
		i.Name = label(i.Name)
		there[i] = true
		there[Issuer{Kind: i.Kind, Namespace: i.Namespace, Name: other}] = true
	}
	for i := range grants {
		if grants[i].Spec.AppPassword != nil {
			add(IssuerOf(&grants[i]))
		}
	}
	for _, i := range issuers {
		add(i.Issuer)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for gone := range r.seen {
		if there[gone] {
			continue
		}
		delete(r.seen, gone)
		if group := (Issuer{Kind: gone.Kind, Namespace: gone.Namespace}); r.of[group] > 1 {
			r.of[group]--
		} else {
			delete(r.of, group)
		}
		labels := prometheus.Labels{"issuer_kind": gone.Kind, "issuer_namespace": gone.Namespace, "issuer_name": gone.Name}
		for _, v := range r.vectors() {
			v.DeletePartialMatch(labels)
		}
	}
}

func gauge(out chan<- prometheus.Metric, d *prometheus.Desc, value float64, labels ...string) {
	out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
