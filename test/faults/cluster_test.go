//go:build integration

package faults

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/publish"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
	"github.com/tokengrant/tokengrant/nextcloud/nextcloudtest"
)

var lostAnswers = []scenario{
	{name: "answer to the exchange lost", promise: promise{Crashes: 1}, step: 2 * time.Second, fault: func(w *world) func() {
		w.issuer.Script(keycloaktest.Answer{Lost: true})
		return nil
	}},
	{name: "answer to a refresh lost, the realm lets a refresh token be used twice", setup: ofAlice(1), step: 2 * time.Second, fault: func(w *world) func() {
		w.issuer.Script(keycloaktest.Answer{Lost: true})
		return nil
	}},
	{
		name: "answer to a refresh lost, the realm lets a refresh token be used once", setup: ofAlice(0), says: v1alpha1.ReasonReloginRequired,
		promise: promise{Human: "a login"},
		fault: func(w *world) func() {
			w.issuer.Script(keycloaktest.Answer{Lost: true})
			return func() {
				w.edit("alice", func(s *corev1.Secret) { s.Data["refresh_token"] = []byte(w.issuer.OfflineToken("worker", "alice")) })
			}
		},
	},
}

// cloud changes the Nextcloud's settings.
func cloud(on, off func(*nextcloudtest.Settings)) func(*world) func() {
	return func(w *world) func() {
		w.nextcloud.Configure(on)
		return func() { w.nextcloud.Configure(off) }
	}
}

// whoAmI is the question of a check.
const whoAmI = "GET /ocs/v2.php/cloud/user"

var (
	checked = setup{nextcloud: true}
	working = func(s *nextcloudtest.Settings) {
		s.Maintenance, s.NeedsDBUpgrade, s.Down, s.Latency = false, false, nextcloudtest.DownNone, nextcloudtest.Duration{}
	}
)

var nextclouds = []scenario{
	{name: "Nextcloud in maintenance", setup: checked, says: v1alpha1.ReasonNextcloudMaintenance, fault: cloud(func(s *nextcloudtest.Settings) { s.Maintenance = true }, working)},
	{name: "Nextcloud waits for its upgrade", setup: checked, says: v1alpha1.ReasonNextcloudMaintenance, fault: cloud(func(s *nextcloudtest.Settings) { s.NeedsDBUpgrade = true }, working)},
	{name: "Nextcloud answers 502", setup: checked, says: v1alpha1.ReasonNextcloudUnreachable, fault: cloud(func(s *nextcloudtest.Settings) { s.Down = nextcloudtest.DownPHP }, working)},
	{name: "Nextcloud answers 500", setup: checked, says: v1alpha1.ReasonNextcloudUnreachable, fault: cloud(func(s *nextcloudtest.Settings) { s.Down = nextcloudtest.DownDatabase }, working)},
	{
		name: "Nextcloud takes 31 s for each answer", setup: checked,
		step: 16 * time.Second, // half of such an answer, which is waited for before the refresh
		fault: func(w *world) func() {
			asked := w.nextcloud.Count(whoAmI)
			w.nextcloud.Configure(func(s *nextcloudtest.Settings) { s.Latency.Duration = 31 * time.Second })
			w.eventually("a check that hangs", func() (bool, any) { return w.nextcloud.Count(whoAmI) > asked, asked })
			return nil
		},
	},
	{name: "Nextcloud throttles", setup: checked, says: v1alpha1.ReasonThrottled, fault: func(w *world) func() {
		w.throttles.Store(true)
		return func() { w.throttles.Store(false) }
	}},
	{name: "Nextcloud has the keys of before a rotation", setup: checked, says: v1alpha1.ReasonNextcloudRejected, fault: func(w *world) func() {
		id := w.rotateKey()
		w.ledger.refuse(func(m keycloaktest.Minted) bool { return m.KeyID == id })
		return func() {
			w.ledger.refuse(nil)
			w.nextcloud.FlushJWKS()
		}
	}},
	{name: "Nextcloud has disabled the user", setup: checked, says: v1alpha1.ReasonNextcloudRejected, unready: true, fault: func(w *world) func() {
		w.nextcloud.DisableUser("service-account-worker")
		// It is found out at the interval, which is the user's choice; what was published before is none of the fault's.
		w.eventually("the check that finds it out", func() (bool, any) {
			status := w.status()
			return w.says(v1alpha1.ConditionCheckPassed, v1alpha1.ReasonNextcloudRejected), status
		})
		since := len(w.issuer.Minted())
		w.ledger.refuse(func(m keycloaktest.Minted) bool { return w.mintedAfter(since, m) })
		return func() {
			w.ledger.refuse(nil)
			w.nextcloud.EnableUser("service-account-worker")
		}
	}},
}

// mintedAfter says whether a token is none of the first ones.
func (w *world) mintedAfter(first int, m keycloaktest.Minted) bool {
	for _, early := range w.issuer.Minted()[:first] {
		if early.Token == m.Token {
			return false
		}
	}
	return true
}

var secrets = []scenario{
	{name: "Secret deleted", quiet: true, fault: func(w *world) func() {
		w.delete("g")
		return nil
	}},
	{name: "Secret edited", quiet: true, fault: func(w *world) func() {
		w.edit("g", func(s *corev1.Secret) { s.Data[publish.KeyAccessToken] = []byte("mine") })
		return nil
	}},
	{name: "Secret made immutable", fault: func(w *world) func() {
		w.edit("g", func(s *corev1.Secret) { s.Immutable = new(true) })
		return nil
	}},
	{name: "Secret taken by another owner", says: v1alpha1.ReasonSecretConflict, unready: true, fault: func(w *world) func() {
		other := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "other"}}
		w.create(other)
		w.edit("g", func(s *corev1.Secret) {
			s.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(other, corev1.SchemeGroupVersion.WithKind("ConfigMap"))}
		})
		return func() { w.delete("g") }
	}},
	{name: "Secret fought for by another controller for 10 s", quiet: true, hold: 10 * time.Second, fault: func(w *world) func() {
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for {
				select {
				case <-stop:
					return
				case <-time.After(100 * time.Millisecond):
					w.fight()
				}
			}
		}()
		return func() {
			close(stop)
			<-stopped
		}
	}},
}

// fight writes what another controller wants into the grant's Secret, if nobody is faster.
func (w *world) fight() {
	var s corev1.Secret
	if err := w.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "g"}, &s); err != nil {
		return
	}
	s.Data[publish.KeyAccessToken] = []byte("theirs")
	if err := w.Update(w.t.Context(), &s); err == nil {
		w.window.wrote(&s)
	}
}

var credentials = []scenario{
	{name: "credential rotated", fault: func(w *world) func() {
		w.issuer.Client("worker", "rotated")
		asked := len(w.issuer.Minted())
		w.edit("worker", func(s *corev1.Secret) { s.Data["client-secret"] = []byte("rotated") })
		w.eventually("a token by the new one", func() (bool, any) {
			n := len(w.issuer.Minted())
			return n > asked+1, n
		})
		cluster.sampler.after(2) // It is to be seen before another takes its place.
		return nil
	}},
	{name: "credential rotated at the issuer only", says: v1alpha1.ReasonClientRejected, fault: func(w *world) func() {
		w.issuer.Client("worker", "rotated")
		return func() { w.edit("worker", func(s *corev1.Secret) { s.Data["client-secret"] = []byte("rotated") }) }
	}},
	{name: "credential emptied", says: v1alpha1.ReasonCredentialMissing, fault: func(w *world) func() {
		w.edit("worker", func(s *corev1.Secret) { s.Data["client-secret"] = nil })
		return func() { w.edit("worker", func(s *corev1.Secret) { s.Data["client-secret"] = []byte("worker-secret") }) }
	}},
	{name: "credential deleted and restored", says: v1alpha1.ReasonCredentialMissing, fault: func(w *world) func() {
		w.delete("worker")
		return func() { w.secret("worker", map[string]string{"client-secret": "worker-secret"}, nil) }
	}},
}
