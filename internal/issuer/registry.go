package issuer

import "sync"

// Registry holds the issuers by a key that names their object: kind, namespace, name and UID. Two objects
// with the same URL are two issuers, because the tokens of one tenant are none of another's.
type Registry struct {
	mu      sync.Mutex
	issuers map[string]entry
}

type entry struct {
	config Config
	issuer *Issuer
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry { return &Registry{issuers: map[string]entry{}} }

// Get returns the issuer of an object as c describes it. The same configuration gives the same Issuer; new
// limits are set on it while it works; any other change gives a new one, without the tokens and keys of the
// old. Config.Clock counts only for a new one. The error says that the configuration cannot be used: a CA
// bundle without certificates.
func (r *Registry) Get(key string, c Config) (*Issuer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old, known := r.issuers[key]
	if known && old.config.sameConnection(c) {
		if !old.config.sameLimits(c) {
			old.issuer.setLimits(c)
			r.issuers[key] = entry{c, old.issuer}
		}
		return old.issuer, nil
	}
	created, err := newIssuer(c)
	if err != nil {
		return nil, err
	}
	created.setLimits(c)
	if known {
		old.issuer.close()
	}
	r.issuers[key] = entry{c, created}
	return created, nil
}

// Forget drops the issuer of an object that is gone, with its connections, keys and tokens.
func (r *Registry) Forget(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old, known := r.issuers[key]; known {
		old.issuer.close()
		delete(r.issuers, key)
	}
}

// States returns the state of every issuer by its key.
func (r *Registry) States() map[string]State {
	r.mu.Lock()
	defer r.mu.Unlock()
	states := make(map[string]State, len(r.issuers))
	for key, e := range r.issuers {
		states[key] = e.issuer.State()
	}
	return states
}
