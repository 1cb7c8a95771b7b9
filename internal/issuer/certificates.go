package issuer

import (
	"crypto/sha256"
	"crypto/tls"
	"net/http"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// certificateLife is how long the connections of a certificate are remembered after their last use. A new one costs a
// handshake.
const certificateLife = 10 * time.Minute

// Certificate is what a client presents when it connects (RFC 8705 §2).
type Certificate struct {
	// Source names where it comes from. Another certificate of the same source replaces it.
	Source string
	// pair stands behind a pointer and an unexported name, so that nothing prints the key.
	pair *tls.Certificate
}

// NewCertificate returns the certificate of a source.
func NewCertificate(source string, pair *tls.Certificate) *Certificate {
	return &Certificate{source, pair}
}

// certificates holds the HTTP clients that present one. A connection stays with the certificate it was opened with, so
// each has connections of its own; the gate is the issuer's, and the same for all.
type certificates struct {
	clock   clock.PassiveClock
	connect func(*tls.Certificate) (*http.Client, error)

	mu   sync.Mutex
	held map[string]*connected // by source
}

type connected struct {
	mark   [sha256.Size]byte
	client *http.Client
	used   time.Time
}

// client returns the HTTP client that presents a certificate, the same one as long as the source has the same.
func (c *certificates) client(certificate *Certificate) (*http.Client, error) {
	mark := fingerprint(certificate.pair)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sweep()
	if held := c.held[certificate.Source]; held != nil && held.mark == mark {
		held.used = c.clock.Now()
		return held.client, nil
	}
	client, err := c.connect(certificate.pair)
	if err != nil {
		return nil, err
	}
	c.drop(certificate.Source)
	if c.held == nil {
		c.held = map[string]*connected{}
	}
	c.held[certificate.Source] = &connected{mark, client, c.clock.Now()}
	return client, nil
}

// sweep drops what nobody uses any more: most of it belongs to grants that are gone.
func (c *certificates) sweep() {
	for source, held := range c.held {
		if c.clock.Since(held.used) >= certificateLife {
			c.drop(source)
		}
	}
}

func (c *certificates) drop(source string) {
	if held := c.held[source]; held != nil {
		held.client.CloseIdleConnections()
		delete(c.held, source)
	}
}

func (c *certificates) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for source := range c.held {
		c.drop(source)
	}
}

// fingerprint tells one certificate from another, its chain included.
func fingerprint(pair *tls.Certificate) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, der := range pair.Certificate {
		_, _ = h.Write(der)
	}
	h.Sum(sum[:0])
	return sum
}
