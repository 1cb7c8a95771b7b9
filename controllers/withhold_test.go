package controllers

import (
	"fmt"
	"net/http/httptest"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/limit"
	"github.com/tokengrant/tokengrant/nextcloud/nextcloudtest"
)

// TestATokenThatNextcloudWasNotAskedAbout because others use up its slots: under Enforce a first one waits, without another
// mint, and one that is held is refreshed.
func TestATokenThatNextcloudWasNotAskedAbout(t *testing.T) {
	for _, policy := range []v1alpha1.CheckPolicy{v1alpha1.PolicyEnforce, v1alpha1.PolicyWarn} {
		for _, holds := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, holds a token: %t", policy, holds), func(t *testing.T) {
				l := newLooping(t)
				cloud := nextcloudtest.New(nextcloudtest.Options{Issuer: l.keycloak.URL, Clock: l.clock})
				server := httptest.NewServer(cloud.Handler())
				t.Cleanup(server.Close)
				g := l.client("g")
				g.Spec.Exchange = &v1alpha1.Exchange{Audiences: []v1alpha1.Audience{"nextcloud"}}
				g.Spec.Check = &v1alpha1.Check{Policy: policy, Nextcloud: &v1alpha1.NextcloudCheck{URL: v1alpha1.HTTPURL(server.URL)}}
				l.make(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "client"}, Data: map[string][]byte{"k": []byte("right")}}, g)
				want := 1
				if holds {
					l.look("g")
					want = 2
				}
				release := l.useUp(server.URL)
				if holds {
					l.request("1")
				} else {
					l.look("g", "g", "g")
				}
				published := holds || policy == v1alpha1.PolicyWarn
				if l.ready() != published {
					t.Errorf("Ready is %t, want %t: %s", l.ready(), published, l.message())
				}
				if published == (l.message() == "Check deferred: too many requests to "+server.Listener.Addr().String()+" are still in flight.") {
					t.Errorf("Ready says %q", l.message())
				}
				release()
				l.look("g")
				if n := l.keycloak.Count("urn:ietf:params:oauth:grant-type:token-exchange"); !l.ready() || n != want {
					t.Errorf("once there is a slot: Ready %t after %d exchanges, want %d: %s", l.ready(), n, want, l.message())
				}
			})
		}
	}
}

// useUp takes all slots of a Nextcloud, as other namespaces may.
func (l *looping) useUp(url string) (release func()) {
	l.t.Helper()
	c, err := l.nextclouds.client(url, nil, l.Issuers)
	if err != nil {
		l.t.Fatal(err)
	}
	var all []func()
	for n := range nextcloudLimits.Slots {
		one, ok := c.slots.Acquire(limit.Waiter{Key: fmt.Sprint("other-", n), Namespace: fmt.Sprint("others-", n)})
		if !ok {
			l.t.Fatalf("%d slots only", n)
		}
		all = append(all, one)
	}
	return func() {
		for _, one := range all {
			one()
		}
	}
}

// message is what Ready says.
func (l *looping) message() string {
	l.t.Helper()
	var g v1alpha1.TokenGrant
	if err := l.Get(l.t.Context(), client.ObjectKey{Namespace: "apps", Name: "g"}, &g); err != nil {
		l.t.Fatal(err)
	}
	c := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionReady)
	if c == nil {
		return "nothing"
	}
	return c.Message
}
