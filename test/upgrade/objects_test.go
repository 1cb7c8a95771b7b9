//go:build integration

package upgrade

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

func recorded(version string) string { return "testdata/" + version + ".yaml" }

// lasting are the grants that hold a token for years. "brief" holds one that has expired when the record is read.
var lasting = []string{"plain", "session", "templated"}

// describe makes the objects that users write.
func (c *cluster) describe() {
	c.t.Helper()
	secret := func(name string, data map[string]string) {
		c.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, StringData: data})
	}
	secret("worker", map[string]string{"client-secret": "worker-secret"})
	secret("brief-client", map[string]string{"client-secret": "brief-secret"})
	secret("alice", map[string]string{"refresh_token": c.issuer.OfflineToken("worker", "alice")})
	issuer := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "keycloak"}}
	issuer.Spec.URL = v1alpha1.HTTPURL(c.issuer.URL)
	c.create(issuer)
	grant := func(name, clientID, secretName string, change func(*v1alpha1.TokenGrantSpec)) {
		g := &v1alpha1.TokenGrant{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
		g.Spec.IssuerRef.Name = "keycloak"
		g.Spec.ServiceAccount = &v1alpha1.ServiceAccount{ClientID: clientID, ClientSecret: &v1alpha1.ClientSecret{SecretRef: v1alpha1.SecretKeyRef{Name: secretName}}}
		g.Spec.Exchange = &v1alpha1.Exchange{Audiences: []v1alpha1.Audience{"nextcloud"}}
		change(&g.Spec)
		c.create(g)
	}
	grant("plain", "worker", "worker", func(*v1alpha1.TokenGrantSpec) {})
	grant("brief", "brief", "brief-client", func(*v1alpha1.TokenGrantSpec) {})
	grant("templated", "worker", "worker", func(s *v1alpha1.TokenGrantSpec) {
		s.Delivery = &v1alpha1.Delivery{Secret: &v1alpha1.SecretDelivery{
			Labels: map[string]v1alpha1.LabelValue{"team": "a"},
			Data:   map[string]v1alpha1.DataTemplate{"header": "Authorization: Bearer {{ .AccessToken }}", "subject": "{{ .Claims.sub }}"},
		}}
	})
	grant("session", "worker", "worker", func(s *v1alpha1.TokenGrantSpec) {
		s.Exchange = nil
		s.Subject = &v1alpha1.Subject{OfflineTokenSecretRef: &v1alpha1.SecretKeyRef{Name: "alice"}}
	})
}

// allReady waits for all grants.
func (c *cluster) allReady() {
	c.t.Helper()
	c.eventually("all grants are Ready", func() bool {
		for _, g := range c.grants() {
			if !meta.IsStatusConditionTrue(g.Status.Conditions, v1alpha1.ConditionReady) {
				return false
			}
		}
		return true
	})
}

// written is what testdata holds: what users wrote and what the operator made of it.
type written struct {
	Issuers []v1alpha1.TokenIssuer `json:"issuers"`
	Grants  []v1alpha1.TokenGrant  `json:"grants"`
	Secrets []corev1.Secret        `json:"secrets"`
}

// save writes all there is to testdata.
func (c *cluster) save() {
	c.t.Helper()
	var w written
	var issuers v1alpha1.TokenIssuerList
	var grants v1alpha1.TokenGrantList
	for _, list := range []client.ObjectList{&issuers, &grants} {
		if err := c.List(c.t.Context(), list, client.InNamespace(namespace)); err != nil {
			c.t.Fatal(err)
		}
	}
	w.Issuers, w.Grants, w.Secrets = issuers.Items, grants.Items, c.secrets()
	for _, o := range w.objects() {
		o.SetManagedFields(nil)
	}
	content, err := yaml.Marshal(w)
	if err != nil {
		c.t.Fatal(err)
	}
	head := "# What " + older + " has written. Made by `make upgrade-record`; the keys and tokens are for nothing else.\n"
	if err := os.WriteFile(recorded(older), append([]byte(head), content...), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

func (w *written) objects() []client.Object {
	var all []client.Object
	for i := range w.Issuers {
		all = append(all, &w.Issuers[i])
	}
	for i := range w.Grants {
		all = append(all, &w.Grants[i])
	}
	for i := range w.Secrets {
		all = append(all, &w.Secrets[i])
	}
	return all
}

// load makes the objects that a version wrote as a restore would that keeps their identities. An API server gives UIDs and
// resourceVersions of its own, so those that other objects mention are replaced.
func (c *cluster) load(version string) {
	c.t.Helper()
	raw, err := os.ReadFile(recorded(version))
	if err != nil {
		c.t.Fatal(err)
	}
	var mentioned []string // old, new, old, new
	read := func() written {
		var w written
		if err := yaml.UnmarshalStrict([]byte(strings.NewReplacer(mentioned...).Replace(string(raw))), &w); err != nil {
			c.t.Fatal(err)
		}
		return w
	}
	made := func(o client.Object, old metav1.ObjectMeta) {
		c.create(o)
		mentioned = append(mentioned,
			string(old.UID)+"/"+old.ResourceVersion, string(o.GetUID())+"/"+o.GetResourceVersion(), string(old.UID), string(o.GetUID()))
	}
	w := read()
	all := slices.Clone(w.Secrets)
	for _, s := range w.Secrets {
		if old := s.ObjectMeta; !owned(s) {
			made(fresh(&s), old)
		}
	}
	for _, i := range w.Issuers {
		old, status := i.ObjectMeta, i.Status
		made(fresh(&i), old)
		i.Status = status
		if err := c.Status().Update(c.t.Context(), &i); err != nil {
			c.t.Fatal(err)
		}
	}
	for _, g := range w.Grants {
		old, status := g.ObjectMeta, g.Status
		made(fresh(&g), old)
		g.Status = status
		if err := c.Status().Update(c.t.Context(), &g); err != nil {
			c.t.Fatal(err)
		}
	}
	for i, s := range read().Secrets {
		if owned(s) {
			c.sum(&s, &all[i])
			c.create(fresh(&s))
		}
	}
}

const sumAnnotation = "tokengrant.dev/data-hash"

// sum brings the operator's checksum of a Secret up to date with the record in it, which mentions another object.
func (c *cluster) sum(s, old *corev1.Secret) {
	c.t.Helper()
	sum := func(s *corev1.Secret) string {
		content, err := json.Marshal(struct {
			Data   map[string][]byte
			Record []byte
		}{s.Data, []byte(s.Annotations[v1alpha1.PublishedAnnotation])})
		if err != nil {
			c.t.Fatal(err)
		}
		return fmt.Sprintf("%x", sha256.Sum256(content))
	}
	if recorded, ok := old.Annotations[sumAnnotation]; ok {
		if got := sum(old); got != recorded {
			c.t.Fatalf("the checksum of Secret %s is made otherwise: %s, want %s", s.Name, got, recorded)
		}
		s.Annotations[sumAnnotation] = sum(s)
	}
}

func owned(s corev1.Secret) bool { return len(s.OwnerReferences) > 0 }

// fresh takes from an object what the API server gives.
func fresh[T client.Object](o T) T {
	o.SetUID(types.UID(""))
	o.SetResourceVersion("")
	o.SetCreationTimestamp(metav1.Time{})
	o.SetGeneration(0)
	return o
}

// presented gives the refresh token that the issuer was shown last.
func (c *cluster) presented() string {
	requests := c.issuer.Requests()
	for _, r := range slices.Backward(requests) {
		if r.GrantType == "refresh_token" {
			return r.Form.Get("refresh_token")
		}
	}
	return ""
}

// asked lists what the issuer was asked for since a number of requests, as "client: grant".
func (c *cluster) asked(since int) []string {
	var all []string
	for _, r := range c.issuer.Requests()[since:] {
		all = append(all, r.ClientID+": "+r.GrantType)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
