//go:build integration

package upgrade

import (
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/offline"
)

// sessionSecret is where an operator keeps the session of the grant "session".
const sessionSecret = "session-tokengrant-session"

func (c *cluster) keptSession() []byte {
	c.t.Helper()
	var s corev1.Secret
	if err := c.Get(c.t.Context(), client.ObjectKey{Namespace: namespace, Name: sessionSecret}, &s); err != nil {
		c.t.Fatal(err)
	}
	return s.Data["session"]
}

func (c *cluster) openSession(sealed []byte) offline.State {
	c.t.Helper()
	keys := filepath.Join(c.t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte(encryptionKey), 0o600); err != nil {
		c.t.Fatal(err)
	}
	g := c.grants()["session"]
	state, err := offline.Keyring{File: keys}.Open(sealed, offline.Grant{Namespace: namespace, Name: g.Name, UID: string(g.UID)})
	if err != nil {
		c.t.Fatal(err)
	}
	return state
}

func (c *cluster) deleteSession() {
	c.t.Helper()
	if err := c.Delete(c.t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: sessionSecret}}); err != nil {
		c.t.Fatal(err)
	}
}

// lastAttempt waits until the last attempt of a grant failed for a reason.
func (c *cluster) lastAttempt(name string, reason v1alpha1.Reason, says string) {
	c.t.Helper()
	c.eventually(name+" says "+says, func() bool {
		last := c.grants()[name].Status.LastAttempt
		return last != nil && last.Reason == reason && strings.Contains(last.Message, says)
	})
}
