package controllers

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// TestASecretWithOurLabelIsCachedOnlyWhereItIsOurs: anybody may put the label on any Secret.
func TestASecretWithOurLabelIsCachedOnlyWhereItIsOurs(t *testing.T) {
	owned := []metav1.OwnerReference{{Kind: kindTokenGrant, Name: "g", UID: "u", Controller: new(true)}}
	for name, tt := range map[string]struct {
		owners []metav1.OwnerReference
		size   int
		kind   corev1.SecretType
		kept   bool
	}{
		"a token of a grant":      {owned, 4 << 10, corev1.SecretTypeOpaque, true},
		"a large one":             {owned, 64 << 10, corev1.SecretTypeOpaque, false},
		"a session":               {owned, 1 << 10, sessionType, false},
		"without an owner":        {nil, 1 << 10, corev1.SecretTypeOpaque, false},
		"of another owner":        {[]metav1.OwnerReference{{Kind: "Deployment", Name: "g", UID: "u", Controller: new(true)}}, 1 << 10, corev1.SecretTypeOpaque, false},
		"of an owner of no kind":  {[]metav1.OwnerReference{{Name: "g", UID: "u", Controller: new(true)}}, 1 << 10, corev1.SecretTypeOpaque, false},
		"of one that is no ruler": {[]metav1.OwnerReference{{Kind: kindTokenGrant, Name: "g", UID: "u"}}, 1 << 10, corev1.SecretTypeOpaque, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := secretOf("s", tt.size)
			s.OwnerReferences, s.Type, s.ResourceVersion, s.Annotations = tt.owners, tt.kind, "7", map[string]string{"a": strings.Repeat("x", 1000)}
			for range 2 { // The cache may do it again.
				if _, err := trimSecret(s); err != nil {
					t.Fatal(err)
				}
			}
			if got := len(s.Data) > 0; got != tt.kept || got == isTrimmed(s) {
				t.Errorf("kept: %t, want %t; trimmed: %t", got, tt.kept, isTrimmed(s))
			}
			if s.Name != "s" || s.ResourceVersion != "7" {
				t.Error("nobody can tell which Secret it is")
			}
			if !tt.kept && s.Size() > 500 {
				t.Errorf("%d bytes are left", s.Size())
			}
			if diff := cmp.Diff(metav1.GetControllerOf(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{OwnerReferences: tt.owners}}), metav1.GetControllerOf(s)); diff != "" {
				t.Errorf("the owner (-want +got):\n%s", diff)
			}
		})
	}
}

// trimming is a client whose cache has trimmed all Secrets.
type trimming struct{ client.Client }

func (c trimming) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	if err := c.Client.Get(ctx, key, o, opts...); err != nil {
		return err
	}
	if s, ok := o.(*corev1.Secret); ok {
		s.Data = map[string][]byte{"large": bytes.Repeat([]byte("x"), maxCachedSecret)}
		_, err := trimSecret(s)
		return err
	}
	return nil
}

// TestASecretThatIsTooLargeForTheCacheIsRead: it is neither minted again nor damaged.
func TestASecretThatIsTooLargeForTheCacheIsRead(t *testing.T) {
	l := newLooping(t)
	l.Client = trimming{l.Client}
	l.apply("right")
	for range 3 {
		l.look("g")
	}
	if !l.ready() || l.asked() != 1 {
		t.Errorf("ready: %t after %d requests, want 1", l.ready(), l.asked())
	}
	var s corev1.Secret
	if err := l.Live.Get(t.Context(), client.ObjectKey{Namespace: "apps", Name: "g"}, &s); err != nil {
		t.Fatal(err)
	}
	if len(s.Data["access_token"]) == 0 || isTrimmed(&s) {
		t.Errorf("the Secret has %d keys and annotations %v", len(s.Data), s.Annotations)
	}
}

func TestWhatUsersWriteOnGrantsIsNotCached(t *testing.T) {
	many := map[string]string{}
	for _, key := range []string{"a", "b", v1alpha1.RefreshRequestedAnnotation} {
		many[key] = strings.Repeat(key, 1000)
	}
	g := &v1alpha1.TokenGrant{ObjectMeta: metav1.ObjectMeta{Name: "g", Labels: many, Annotations: many, Finalizers: []string{"f"}, OwnerReferences: make([]metav1.OwnerReference, 100)}}
	request := refreshRequest(g)
	if _, err := trimOwn(g); err != nil {
		t.Fatal(err)
	}
	want := &v1alpha1.TokenGrant{ObjectMeta: metav1.ObjectMeta{Name: "g", Annotations: map[string]string{v1alpha1.RefreshRequestedAnnotation: request}, Finalizers: []string{"f"}}}
	if diff := cmp.Diff(want, g); diff != "" {
		t.Errorf("the cached grant (-want +got):\n%s", diff)
	}
	if len(request) > maxRequest || refreshRequest(g) != request {
		t.Errorf("the request is %q, and %q in the cache", request, refreshRequest(g))
	}
}

func TestConnectionsOfIssuersThatAreGoneAreClosed(t *testing.T) {
	r := newReferring(t)
	r.discover()
	late := r.issuer()
	late.UID, late.Spec.URL = types.UID("of-one-that-is-gone"), "https://127.0.0.1:1/realms/r"
	if _, err := r.Issuers.connect(t.Context(), r.Issuers.view(late)); err != nil {
		t.Fatal(err)
	}
	if n := len(r.Issuers.Registry.States()); n != 2 {
		t.Fatalf("%d connections, want 2", n)
	}
	r.Issuers.forgetGone(t.Context())
	states := r.Issuers.Registry.States()
	if _, ok := states["TokenIssuer/apps/keycloak/uid-of-issuer"]; !ok || len(states) != 1 {
		t.Errorf("connections are left to %v, want that of the living issuer", states)
	}
}
