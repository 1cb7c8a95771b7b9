package controllers

import (
	"net/http"
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
}

// remembered is used by one reconcile at a time.
type remembered struct {
	uid types.UID
	// minted is the newest token, with what it was minted from: published, or to be published when writing failed.
	minted *minted
	// keptOut is a token that Nextcloud rejects because it does not know its key yet.
	keptOut *minted
	// written is the resourceVersion of the Secret as we wrote it, sessionWritten that of the session's.
	written, sessionWritten string
	// session is what is kept between two mints.
	session *session
	// login is that of an app password, as it was read last; cloud the connection that was used for it, and
	// retireAfter the end of the pause after a deletion that failed.
	login       *accountLogin
	cloud       *http.Client
	retireAfter time.Time
	// failure is the latest failed attempt, and tried what it was made with: another try with something new need not wait.
	failure *plan.Failure
	tried   string
	// saved is the resourceVersion of the grant when its status was last written or found to be right.
	saved string
	// unsaved is an outcome that could not be written into the status.
	unsaved *outcome
	// unnudged says why the pods were not nudged at the latest publish.
	unnudged string
	// unsettled is the latest check that was no acceptance.
	unsettled *plan.Failure
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
	if r == nil || r.uid != uid {
		r = &remembered{uid: uid}
		if m.grants == nil {
			m.grants = map[types.NamespacedName]*remembered{}
		}
		m.grants[key] = r
	}
	return r
}

func (m *memory) forget(key types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.grants, key)
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

// wrote says whether a Secret is exactly as this process left it.
func (m *memory) wrote(key types.NamespacedName, resourceVersion string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.grants[key]
	return r != nil && (r.written == resourceVersion || r.sessionWritten == resourceVersion)
}
