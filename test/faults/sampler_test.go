//go:build integration

package faults

import (
	"context"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/controllers/publish"
)

// sampleEvery is how often every Secret is read.
const sampleEvery = 500 * time.Millisecond

// sampler reads every Secret of the cluster for the whole run, and shows them to the windows of the scenarios. It does not
// go through what the scenarios break.
type sampler struct {
	reader client.Reader

	mu      sync.Mutex
	windows map[string]*window // by namespace
	// sampled counts the samples.
	sampled int
}

func (s *sampler) run(ctx context.Context) {
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.sample(ctx)
		}
	}
}

// sample takes one. While the API server does not answer nobody can change a Secret: they hold what they held.
func (s *sampler) sample(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var all corev1.SecretList
	err := s.reader.List(limited, &all)
	byNamespace := map[string][]corev1.Secret{}
	for _, secret := range all.Items {
		byNamespace[secret.Namespace] = append(byNamespace[secret.Namespace], secret)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sampled++
	for namespace, w := range s.windows {
		if err == nil {
			w.see(byNamespace[namespace])
		}
		w.tick(time.Now())
	}
}

func (s *sampler) open(w *window) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.windows == nil {
		s.windows = map[string]*window{}
	}
	s.windows[w.namespace] = w
}

// close ends a window after two samples more, so that what was published last is seen.
func (s *sampler) close(w *window) {
	s.after(2)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.windows, w.namespace)
}

// after waits for so many whole samples.
func (s *sampler) after(samples int) {
	count := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.sampled
	}
	for until := count() + samples + 1; count() < until; {
		time.Sleep(50 * time.Millisecond)
	}
}

// window is what was seen of one scenario's namespace. Its methods may be called while the sampler runs.
type window struct {
	namespace string
	ledger    judge

	mu sync.Mutex
	// known are the versions of Secrets that belong to others, as the test itself wrote them.
	known map[version]bool
	// others are the versions that were seen.
	others map[version]string
	// held are the tokens in Secrets now; published all that there were, with their records, in order.
	held      []string
	published []publication
	expired   time.Duration
	ticked    time.Time
}

// judge knows what an issuer has signed.
type judge interface {
	// judge says what is wrong with a token that was just seen in a Secret, and expired whether its time is over.
	judge(token string) fault
	expired(token string) bool
	// unpublished counts the good tokens that were minted to be published and never were.
	unpublished([]publication) int
}

// version is one of a Secret.
type version struct{ uid, resourceVersion string }

func versionOf(s *corev1.Secret) version { return version{string(s.UID), s.ResourceVersion} }

// publication is a token as it first stood in a Secret.
type publication struct {
	version
	token  string
	secret string
	record *plan.Record
	wrong  fault
}

// judgeBy takes another issuer's word from now on.
func (w *window) judgeBy(other judge) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ledger = other
}

// wrote tells the window of a Secret that the test wrote.
func (w *window) wrote(s *corev1.Secret) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.known == nil {
		w.known = map[version]bool{}
	}
	w.known[versionOf(s)] = true
}

// see takes in the Secrets of the namespace.
func (w *window) see(secrets []corev1.Secret) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = nil
	for i := range secrets {
		s := &secrets[i]
		if !ours(s) {
			if w.others == nil {
				w.others = map[version]string{}
			}
			w.others[versionOf(s)] = s.Name
			continue
		}
		token, ok := s.Data[publish.KeyAccessToken]
		if !ok {
			continue
		}
		w.held = append(w.held, string(token))
		if !slices.ContainsFunc(w.published, func(p publication) bool { return p.token == string(token) && p.secret == s.Name }) {
			record, _ := plan.ParseRecord(s.Annotations[v1alpha1.PublishedAnnotation])
			w.published = append(w.published, publication{versionOf(s), string(token), s.Name, record, w.ledger.judge(string(token))})
		}
	}
}

// ours says that a Secret is one of a TokenGrant.
func ours(s *corev1.Secret) bool {
	owner := metav1.GetControllerOf(s)
	return owner != nil && owner.Kind == "TokenGrant"
}

// tick adds the time since the last one for each Secret whose token has expired.
func (w *window) tick(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ticked.IsZero() {
		for _, token := range w.held {
			if w.ledger.expired(token) {
				w.expired += now.Sub(w.ticked)
			}
		}
	}
	w.ticked = now
}

// measured sums the window up.
func (w *window) measured(grants ...*v1alpha1.TokenGrant) measure {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := measure{Expired: w.expired}
	for v := range w.others {
		if !w.known[v] {
			m.Touched++
		}
	}
	// What the test itself put there is not the operator's word.
	w.published = slices.DeleteFunc(w.published, func(p publication) bool { return w.known[p.version] })
	for _, p := range w.published {
		switch p.wrong {
		case unverified:
			m.Unverified++
		case wrongAudience:
			m.WrongAudience++
		}
	}
	m.Lost = w.ledger.unpublished(w.published)
	m.Extra = m.Lost + w.unneeded(grants)
	return m
}

// unneeded counts the tokens that took the place of one that was not due, and for which nothing else called.
func (w *window) unneeded(grants []*v1alpha1.TokenGrant) int {
	n := 0
	for _, g := range grants {
		var last *plan.Record
		for _, p := range w.published {
			if p.secret != secretOf(g) || p.record == nil {
				continue
			}
			if last != nil && !needed(g, last, p.record) {
				n++
			}
			last = p.record
		}
	}
	return n
}

func needed(g *v1alpha1.TokenGrant, last, next *plan.Record) bool {
	due := last.RefreshAt(string(g.UID), g.Spec.Refresh, 0)
	return next.Request != last.Request || next.Inputs != last.Inputs || next.Credential != last.Credential ||
		!next.Token.IssuedAt.Time.Before(due.Add(-time.Second))
}
