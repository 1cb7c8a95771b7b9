package v1alpha1

import (
	"cmp"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Defaults of absent fields. None of them stands in the schema: an object shows what its author wrote, and a default that
// moves would change every object.
const (
	// DefaultCheckInterval of Check.Interval.
	DefaultCheckInterval = 10 * time.Minute
	// DefaultRotation of Rotation.Every.
	DefaultRotation = 720 * time.Hour
	// DefaultOverlap of Rotation.Overlap: far longer than the kubelet takes to bring a changed Secret into a volume.
	DefaultOverlap = 5 * time.Minute

	defaultTokenExpiration   = 600
	defaultRequestsPerSecond = 50
	defaultBurst             = 100
	defaultConcurrency       = 16
)

// Default fills in the defaults of absent fields. It is idempotent, and changes nothing but the spec.
func (g *TokenGrant) Default() {
	s := &g.Spec
	if s.IssuerRef.Name != "" {
		s.IssuerRef.Group = cmp.Or(s.IssuerRef.Group, GroupVersion.Group)
		s.IssuerRef.Kind = cmp.Or(s.IssuerRef.Kind, "TokenIssuer")
	}
	s.ServiceAccount.setDefaults()
	s.Subject.setDefaults()
	s.AppPassword.setDefaults()
	if a := s.AppPassword; a != nil && s.Check == nil {
		s.Check = &Check{Nextcloud: &NextcloudCheck{URL: a.Nextcloud.URL, CARef: a.Nextcloud.CARef.DeepCopy()}}
	}
	s.Check.setDefaults()
	delivery := g.SecretDelivery()
	s.Delivery = &Delivery{Secret: &delivery}
	s.DeletionPolicy = cmp.Or(s.DeletionPolicy, DeletionLeave)
}

// WithDefaults returns a copy in which absent fields have their defaults.
func (s *TokenIssuerSpec) WithDefaults() *TokenIssuerSpec {
	s = s.DeepCopy()
	s.ServiceAccount.setDefaults()
	s.CARef.setDefaults()
	s.Limits.RequestsPerSecond = cmp.Or(s.Limits.RequestsPerSecond, defaultRequestsPerSecond)
	s.Limits.Burst = cmp.Or(s.Limits.Burst, defaultBurst)
	s.Limits.Concurrency = cmp.Or(s.Limits.Concurrency, defaultConcurrency)
	return s
}

func (a *ServiceAccount) setDefaults() {
	if a == nil {
		return
	}
	if c := a.ClientSecret; c != nil {
		c.SecretRef.Key = cmp.Or(c.SecretRef.Key, "client-secret")
		c.Method = cmp.Or(c.Method, ClientSecretBasic)
	}
	if k := a.PrivateKeyJWT; k != nil {
		k.SecretRef.Key = cmp.Or(k.SecretRef.Key, "tls.key")
		k.Algorithm = cmp.Or(k.Algorithm, "RS256")
	}
	a.KubernetesToken.setDefaults()
}

func (t *KubernetesToken) setDefaults() {
	if t != nil {
		t.ExpirationSeconds = cmp.Or(t.ExpirationSeconds, defaultTokenExpiration)
	}
}

func (s *Subject) setDefaults() {
	if s == nil {
		return
	}
	s.TokenSecretRef.setKey("access_token")
	s.OfflineTokenSecretRef.setKey("refresh_token")
	if a := s.Assertion; a != nil {
		a.TokenSecretRef.setKey("access_token")
		a.KubernetesToken.setDefaults()
	}
}

func (r *SecretKeyRef) setKey(key string) {
	if r != nil {
		r.Key = cmp.Or(r.Key, key)
	}
}

func (r *CARef) setDefaults() {
	if r != nil {
		r.Kind, r.Key = cmp.Or(r.Kind, "ConfigMap"), cmp.Or(r.Key, "ca.crt")
	}
}

func (c *Check) setDefaults() {
	if c == nil {
		return
	}
	c.Policy = cmp.Or(c.Policy, PolicyEnforce)
	if c.Interval == nil {
		c.Interval = &metav1.Duration{Duration: DefaultCheckInterval}
	}
	n := c.Nextcloud
	if n == nil {
		return
	}
	n.CARef.setDefaults()
	if n.Expect.NotInGroups == nil {
		n.Expect.NotInGroups = []GroupName{"admin"}
	}
	for i := range n.Paths {
		n.Paths[i].Access = cmp.Or(n.Paths[i].Access, PathRead)
	}
}

func (a *AppPassword) setDefaults() {
	if a == nil {
		return
	}
	a.Nextcloud.CARef.setDefaults()
	if a.Rotation == nil {
		a.Rotation = &Rotation{}
	}
	if a.Rotation.Every == nil {
		a.Rotation.Every = &metav1.Duration{Duration: DefaultRotation}
	}
	if a.Rotation.Overlap == nil {
		a.Rotation.Overlap = &metav1.Duration{Duration: DefaultOverlap}
	}
}

// Nextcloud returns the server that makes the app password or checks the token; nil when there is none.
func (s *TokenGrantSpec) Nextcloud() *NextcloudServer {
	switch {
	case s.AppPassword != nil:
		return &s.AppPassword.Nextcloud
	case s.Check != nil && s.Check.Nextcloud != nil:
		return &NextcloudServer{URL: s.Check.Nextcloud.URL, CARef: s.Check.Nextcloud.CARef}
	default:
		return nil
	}
}

// NextcloudCheck returns the check by a Nextcloud; nil when there is none.
func (s *TokenGrantSpec) NextcloudCheck() *NextcloudCheck {
	if s.Check == nil {
		return nil
	}
	return s.Check.Nextcloud
}

// SecretDelivery returns spec.delivery.secret with its defaults.
func (g *TokenGrant) SecretDelivery() SecretDelivery {
	var s SecretDelivery
	if d := g.Spec.Delivery; d != nil && d.Secret != nil {
		s = *d.Secret
	}
	s.Name, s.OnExpiry = cmp.Or(s.Name, g.Name), cmp.Or(s.OnExpiry, OnExpiryKeep)
	return s
}
