package issuer

import "sync"

// Registry holds the issuers by a key that names their object: kind, namespace, name and UID. Two objects
// with the same URL are two issuers, because the tokens of one tenant are none of another's.
type Registry struct {
	mu       sync.Mutex
	issuers  map[string]entry
	held, of int // this process's part of all limits; all when of is 0
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
			old.issuer.setLimits(c.part(r.held, r.of))
			r.issuers[key] = entry{c, old.issuer}
		}
		return old.issuer, nil
	}
	created, err := newIssuer(c)
	if err != nil {
		return nil, err
	}
	created.setLimits(c.part(r.held, r.of))
	if known {
		old.issuer.close()
	}
	r.issuers[key] = entry{c, created}
	return created, nil
}

// SetShare leaves to this process so much of the limits of every issuer, those of the future included: held of all. The
// rest is for the other processes that share the work. Before the first call all is this one's.
func (r *Registry) SetShare(held, of int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held, r.of = held, of
	for _, e := range r.issuers {
		e.issuer.setLimits(e.config.part(held, of))
	}
}

// part is a share of the limits. The rate is divided exactly; of places and of a burst one at least is left, or nothing
// could be asked at all.
func (c Config) part(held, of int) Config {
	if held >= of {
		return c
	}
	held = max(held, 1)
	c.RequestsPerSecond = orDefault(c.RequestsPerSecond, defaultRequestsPerSecond) * float64(held) / float64(of)
	c.Burst = max(1, orDefault(c.Burst, defaultBurst)*held/of)
	c.Concurrency = max(1, orDefault(c.Concurrency, defaultConcurrency)*held/of)
	return c
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
