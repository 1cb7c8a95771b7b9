package e2e

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/ptr"

	"github.com/tokengrant/tokengrant/hack/stack"
)

// ledger has what the replicas wrote.
type ledger struct {
	mu      sync.Mutex
	secrets map[string][]write // by grant
	leases  map[string][]write // by name; by is empty where one was given back
}

func newLedger() *ledger { return &ledger{secrets: map[string][]write{}, leases: map[string][]write{}} }

// write is one that the API server has accepted.
type write struct {
	by         string
	begin, end time.Time
}

// wire stands between one replica and the API server.
type wire struct {
	t          *testing.T
	kubeconfig string
	server     *httptest.Server
	severed    atomic.Bool
}

// newWire makes a way to the API server for the operator's service account.
func newWire(t *testing.T, plane *stack.ControlPlane, name string, l *ledger) *wire {
	t.Helper()
	config, _, err := plane.ServiceAccount(t.Context(), stack.OperatorNamespace, stack.OperatorServiceAccount)
	if err != nil {
		t.Fatal(err)
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(plane.URL)
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{t: t}
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: transport, FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0),
	}
	w.server = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if w.severed.Load() {
			panic(http.ErrAbortHandler)
		}
		l.serve(proxy, name, rw, r)
	}))
	w.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	w.server.Start()
	file := clientcmdapi.NewConfig()
	file.Clusters["wire"] = &clientcmdapi.Cluster{Server: w.server.URL}
	file.Contexts["wire"] = &clientcmdapi.Context{Cluster: "wire"}
	file.CurrentContext = "wire"
	w.kubeconfig = filepath.Join(t.TempDir(), name)
	if err := clientcmd.WriteToFile(*file, w.kubeconfig); err != nil {
		t.Fatal(err)
	}
	return w
}

// cut lets nothing through any more, or all again.
func (w *wire) cut(off bool) {
	w.severed.Store(off)
	if off {
		w.server.CloseClientConnections()
	}
}

func (w *wire) close() {
	w.cut(true)
	w.server.Close()
}

var (
	secretPath = regexp.MustCompile(`^/api/v1/namespaces/default/secrets(/grant-\d\d)?$`)
	leasePath  = regexp.MustCompile(`^/apis/coordination\.k8s\.io/v1/namespaces/[^/]+/leases(/[^/]+)?$`)
	nameOf     = regexp.MustCompile(`grant-\d\d`)
)

// serve notes what a request writes. An object that is made has its name in the body.
func (l *ledger) serve(proxy http.Handler, by string, rw http.ResponseWriter, r *http.Request) {
	isSecret, isLease := secretPath.MatchString(r.URL.Path), leasePath.MatchString(r.URL.Path)
	writes := r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch
	if !writes || !isSecret && !isLease {
		proxy.ServeHTTP(rw, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r = r.WithContext(context.WithoutCancel(r.Context())) // What has begun is noted, also when nobody waits for it any more.
	r.Body = io.NopCloser(bytes.NewReader(body))
	answer := &noting{ResponseWriter: rw, accepted: func(begin, end time.Time) {
		l.note(r.URL.Path, body, isSecret, write{by, begin, end})
	}, begin: time.Now()}
	proxy.ServeHTTP(answer, r)
}

// note takes in a write.
func (l *ledger) note(path string, body []byte, isSecret bool, done write) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if isSecret {
		name := nameOf.FindString(path + " " + string(body))
		l.secrets[name] = append(l.secrets[name], done)
		return
	}
	var lease coordinationv1.Lease
	if _, _, err := clientgoscheme.Codecs.UniversalDeserializer().Decode(body, nil, &lease); err != nil {
		panic(err)
	}
	if ptr.Deref(lease.Spec.HolderIdentity, "") == "" {
		done.by = ""
	}
	l.leases[lease.Name] = append(l.leases[lease.Name], done)
}

// noting tells of a write that was accepted, before the writer learns of it.
type noting struct {
	http.ResponseWriter

	begin    time.Time
	accepted func(begin, end time.Time)
}

func (n *noting) WriteHeader(status int) {
	if status/100 == 2 {
		n.accepted(n.begin, time.Now())
	}
	n.ResponseWriter.WriteHeader(status)
}

// parseMetrics gives the values by series.
func parseMetrics(text io.Reader) map[string]string {
	values := map[string]string{}
	for lines := bufio.NewScanner(text); lines.Scan(); {
		if i := strings.LastIndexByte(lines.Text(), ' '); i > 0 {
			values[lines.Text()[:i]] = lines.Text()[i+1:]
		}
	}
	return values
}
