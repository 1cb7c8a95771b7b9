package controllers

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/issuer"
	"github.com/tokengrant/tokengrant/internal/offline"
	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/nextcloud/nextcloudtest"
)

const (
	accountPassword = "canary-password-of-alice"
	logInEndpoint   = "GET /ocs/v2.php/core/getapppassword"
	cloudUser       = "GET /ocs/v2.php/cloud/user"
)

// bench is a grant of an app password, with a clock that the test moves and an API server that can fail.
type bench struct {
	t     *testing.T
	clock *clocktesting.FakeClock
	cloud *nextcloudtest.Server
	url   string
	keys  offline.Keyring
	*GrantReconciler
	events *events.FakeRecorder
	log    bytes.Buffer
	// write is called before each write; an error of it is the API server's.
	write func(verb string, o client.Object) error
	// answer is called where Nextcloud has carried out a request; false loses the answer.
	answer func(*http.Request) bool
	// told are all events so far.
	told []string
}

// newBench has an account alice, its login, and the grant "g", which was not looked at yet.
func newBench(t *testing.T, change ...func(*v1alpha1.TokenGrant)) *bench {
	t.Helper()
	b := &bench{t: t, clock: clocktesting.NewFakeClock(noon), events: events.NewFakeRecorder(100)}
	b.cloud = nextcloudtest.New(nextcloudtest.Options{
		Clock: b.clock, Users: []nextcloudtest.User{{ID: "alice", Password: sensitive.New(accountPassword)}},
	})
	server := httptest.NewServer(b.wire())
	t.Cleanup(server.Close)
	b.url = server.URL
	b.keys.File = filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(b.keys.File, []byte(benchKey), 0o600); err != nil {
		t.Fatal(err)
	}
	g := &v1alpha1.TokenGrant{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "g", UID: "uid-of-g", Generation: 1}}
	g.Spec.AppPassword = &v1alpha1.AppPassword{Nextcloud: v1alpha1.NextcloudServer{URL: v1alpha1.HTTPURL(b.url)}, From: v1alpha1.AppPasswordSource{LoginSecretRef: &v1alpha1.SecretRef{Name: "login"}}}
	g.Spec.Check = &v1alpha1.Check{Nextcloud: &v1alpha1.NextcloudCheck{URL: v1alpha1.HTTPURL(b.url)}}
	g.Spec.Check.Interval = &metav1.Duration{Duration: 24 * time.Hour}
	g.Spec.Check.Nextcloud.Expect.NotInGroups = []v1alpha1.GroupName{"admin"}
	for _, f := range change {
		f(g)
	}
	login := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "login", UID: "uid-of-login"}, Type: corev1.SecretTypeBasicAuth}
	login.Data = map[string][]byte{"username": []byte("alice"), "password": []byte(accountPassword)}
	b.serve(g, login)
	t.Cleanup(b.leaksNothing)
	return b
}

// wire serves the stand-in, and loses answers on the way.
func (b *bench) wire() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		recorded := httptest.NewRecorder()
		b.cloud.Handler().ServeHTTP(recorded, r)
		if b.answer != nil && !b.answer(r) {
			panic(http.ErrAbortHandler)
		}
		maps.Copy(w.Header(), recorded.Header())
		w.WriteHeader(recorded.Code)
		_, _ = w.Write(recorded.Body.Bytes())
	})
}

// serve starts an API server that holds some objects, and an operator.
func (b *bench) serve(objects ...client.Object) {
	b.t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			b.t.Fatal(err)
		}
	}
	asked := func(verb string, o client.Object) error {
		if b.write == nil {
			return nil
		}
		return b.write(verb, o)
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&v1alpha1.TokenGrant{}).WithObjects(objects...).
		WithInterceptorFuncs(interceptor.Funcs{
			Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
				if err := asked("create", o); err != nil {
					return err
				}
				return c.Create(ctx, o, opts...)
			},
			Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
				if err := asked("update", o); err != nil {
					return err
				}
				return c.Update(ctx, o, opts...)
			},
			SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
				if err := asked("patch "+sub, o); err != nil {
					return err
				}
				return c.SubResource(sub).Patch(ctx, o, p, opts...)
			},
		}).Build()
	b.GrantReconciler = &GrantReconciler{Client: c, Live: c}
	b.restart()
}

// benchKey is in the operator's file of encryption keys.
const benchKey = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="

// open decrypts what is kept for the grant.
func (b *bench) open(s corev1.Secret) (offline.State, error) {
	return b.keys.Open(s.Data[sessionKey], offline.Grant{Namespace: "apps", Name: "g", UID: "uid-of-g"})
}

// restart forgets all that a process knows.
func (b *bench) restart() {
	c := b.Client
	b.GrantReconciler = &GrantReconciler{
		Client: c, Live: c, Recorder: b.events, Clock: b.clock, Keys: b.keys,
		Issuers: &Issuers{Reader: c, References: NewReferences(c, c), Registry: issuer.NewRegistry(), Clock: b.clock},
	}
}

// run reconciles until there is nothing to do at once, and says in how long there is; 0 is never.
func (b *bench) run() time.Duration {
	b.t.Helper()
	for range 20 {
		if wait := b.once(); wait == 0 || wait > 2*time.Second {
			return wait
		}
		b.clock.Step(time.Second)
	}
	b.t.Fatal("a hot loop")
	return 0
}

func (b *bench) once() time.Duration {
	b.t.Helper()
	ctx := ctrl.LoggerInto(b.t.Context(), funcr.New(func(prefix, args string) { fmt.Fprintln(&b.log, prefix, args) }, funcr.Options{}))
	result, err := b.Reconcile(ctx, ctrl.Request{NamespacedName: client.ObjectKey{Namespace: "apps", Name: "g"}})
	if err != nil {
		fmt.Fprintln(&b.log, err)
		return time.Second
	}
	return result.RequeueAfter
}

// pass lets time go by, in which the operator does what it has planned.
func (b *bench) pass(d time.Duration) {
	b.t.Helper()
	for end := b.clock.Now().Add(d); ; {
		wait := b.run()
		left := end.Sub(b.clock.Now())
		if wait == 0 || wait > left {
			b.clock.Step(max(left, 0))
			return
		}
		b.clock.Step(wait)
	}
}
