//go:build integration

package faults

import (
	"encoding/json"
	"fmt"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/hack/stack"
	"github.com/tokengrant/tokengrant/keycloak/realm"
)

// keys judges by the signing keys of a real issuer, which keeps no ledger.
type keys struct {
	set jose.JSONWebKeySet
	url string
}

func readKeys(t *testing.T, url string) keys {
	t.Helper()
	k := keys{url: url}
	answer, err := http.Get(url + "/protocol/openid-connect/certs")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(&k.set); err != nil {
		t.Fatal(err)
	}
	return k
}

func (k keys) claims(token string) (*jwt.Claims, error) {
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return nil, err
	}
	var claims jwt.Claims
	return &claims, parsed.Claims(k.set, &claims)
}

func (k keys) judge(token string) fault {
	claims, err := k.claims(token)
	switch {
	case err != nil || claims.Issuer != k.url || claims.Expiry == nil:
		return unverified
	case len(claims.Audience) != 1 || claims.Audience[0] != audience:
		return wrongAudience
	}
	return fine
}

func (k keys) expired(token string) bool {
	claims, err := k.claims(token)
	return err == nil && claims.Expiry != nil && !time.Now().Before(claims.Expiry.Time())
}

func (keys) unpublished([]publication) int { return 0 }

// TestKeycloakKilledMidExchange kills a real Keycloak while it works on the exchanges of 20 grants, and starts it again.
func TestKeycloakKilledMidExchange(t *testing.T) {
	t.Parallel()
	kc, err := stack.StartKeycloak(t.Context(), stack.KeycloakOptions{Realms: [][]byte{realm.Export}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kc.Close() })
	w := newWorld(t, gated)
	url := kc.Issuer(realm.Name)
	w.window.judgeBy(readKeys(t, url))
	const client = "nextcloud-mcp-server"
	w.secret(client, map[string]string{"client-secret": client + "-secret"}, nil)
	i := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "keycloak"}}
	i.Spec.URL = v1alpha1.HTTPURL(url)
	w.create(i)
	var grants []*v1alpha1.TokenGrant
	for n := range 20 {
		g := w.grant.DeepCopy()
		g.Name = fmt.Sprintf("g%d", n)
		g.Spec.IssuerRef.Name, g.Spec.ServiceAccount.ClientID, g.Spec.ServiceAccount.ClientSecret.SecretRef.Name = i.Name, client, client
		w.create(g)
		grants = append(grants, g)
	}
	each := func(f func()) {
		for _, w.grant = range grants {
			f()
		}
	}
	each(func() { w.awaitWell("") })
	signal := func(s syscall.Signal) {
		for _, pid := range kc.PIDs() {
			if err := syscall.Kill(pid, s); err != nil {
				t.Fatal(err)
			}
		}
	}
	signal(syscall.SIGSTOP) // The exchanges arrive, and are not answered any more.
	each(func() { w.request("1") })
	time.Sleep(time.Second)
	signal(syscall.SIGKILL)
	w.eventually("the end of Keycloak", func() (bool, any) { return len(kc.PIDs()) == 0, kc.PIDs() })
	if err := kc.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	gone := time.Now()
	each(func() { w.awaitWell("1") })
	w.judge(result{
		order: 250, scenario: "real Keycloak killed amid the exchanges of 20 grants", says: v1alpha1.ReasonIssuerUnreachable, Recovery: time.Since(gone),
		Step:    10 * time.Second, // until the issuer is looked at again
		allowed: promise{Uncounted: true},
	})
}
