package controllers

import (
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// memory is what one process knows of its grants beyond the cluster. It saves requests; nothing depends on it.
type memory struct {
	mu     sync.Mutex
	grants map[types.NamespacedName]*remembered
	// counts are of the grants of each namespace.
	counts map[string]int
}

// remembered is used by one reconcile at a time.
type remembered struct {
	uid types.UID
	// minted is the newest token, with what it was minted from: published, or to be published when writing failed.
	minted *minted
	// withheld is a token that Nextcloud rejects because it does not know its key yet, or a first one that it could not be
	// asked about yet.
	withheld *minted
	// written is the resourceVersion of the Secret as we wrote it, sessionWritten that of the session's.
	written, sessionWritten string
	// writing says that a Secret is being written, and seen are the changes of our Secrets that the watch has told of
	// meanwhile: it may tell of our own before the API server has answered us.
	writing bool
	seen    []seen
	// session is what is kept between two mints.
	session *session
	// login is that of an app password, as it was read last; cloud the connection that was used for it, and
	// retireAfter the end of the pause after a deletion that failed.
	login       *accountLogin
	cloud       *nextcloudClient
	retireAfter time.Time
	// failure is the latest failed attempt, began when it did, and tried what it was made with: another try with something
	// new need not wait.
	failure *plan.Failure
	began   time.Time
	tried   string
	// templatesGeneration is the generation of the grant whose templates were checked last, and templatesErr their error.
	templatesGeneration int64
	templatesErr        error
	// saved is the resourceVersion of the grant when its status was last written or found to be right.
	saved string
	// unsaved is an outcome that could not be written into the status.
	unsaved *outcome
	// unnudged says why the pods were not nudged at the latest publish.
	unnudged string
	// queued says that there was no slot the last time.
	queued bool
	// unconfirmed is the latest check that was no acceptance.
	unconfirmed *plan.Failure
}

// seen is a Secret as the watch has shown it, and what to do if it is not as we wrote it.
type seen struct {
	resourceVersion string
	wake            func()
}

// minted is a verified token and its record.
type minted struct {
	token     sensitive.String
	tokenType string
	record    plan.Record
	// access is how it was minted; nil after a restart.
	access *access
}

func (m *memory) of(key types.NamespacedName, uid types.UID) *remembered {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.grants[key]
	if r == nil {
		if m.grants == nil {
			m.grants, m.counts = map[types.NamespacedName]*remembered{}, map[string]int{}
		}
		m.counts[key.Namespace]++
	}
	if r == nil || r.uid != uid {
		r = &remembered{uid: uid}
		m.grants[key] = r
	}
	return r
}

// count is how many grants of a namespace are known.
func (m *memory) count(namespace string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counts[namespace]
}

func (m *memory) forget(key types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.grants[key] == nil {
		return
	}
	delete(m.grants, key)
	m.counts[key.Namespace]--
	if m.counts[key.Namespace] == 0 {
		delete(m.counts, key.Namespace)
	}
}

// setWritten notes the Secret as it was just written. The watch asks for it, from another goroutine.
func (m *memory) setWritten(r *remembered, resourceVersion string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r.written = resourceVersion
}

// setSessionWritten does so for the Secret of the session.
func (m *memory) setSessionWritten(r *remembered, resourceVersion string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r.sessionWritten = resourceVersion
}

// write brackets the writing of a Secret.
func (m *memory) write(r *remembered) (done func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r.writing = true
	return func() {
		m.mu.Lock()
		all := r.seen
		r.writing, r.seen = false, nil
		foreign := slices.DeleteFunc(all, func(s seen) bool { return r.isOwn(s.resourceVersion) })
		m.mu.Unlock()
		for _, s := range foreign {
			s.wake()
		}
	}
}

// changed wakes a grant of whose Secrets the watch tells, unless the Secret is exactly as this process left it.
func (m *memory) changed(key types.NamespacedName, resourceVersion string, wake func()) {
	m.mu.Lock()
	r := m.grants[key]
	own := r != nil && r.isOwn(resourceVersion)
	if !own && r != nil && r.writing {
		r.seen = append(r.seen, seen{resourceVersion, wake})
		own = true
	}
	m.mu.Unlock()
	if !own {
		wake()
	}
}

func (r *remembered) isOwn(resourceVersion string) bool {
	return r.written == resourceVersion || r.sessionWritten == resourceVersion
}
