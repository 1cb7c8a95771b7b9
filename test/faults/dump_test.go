//go:build integration && linux

package faults

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tokengrant/tokengrant/test/canary"
)

// TestDumpShowsNoToken ends the operator as it is shipped so that it prints all its goroutines, as it does after a panic that
// nothing recovers, while one of them writes a token into a Secret. A core dump, which would hold the token, is not to be.
func TestDumpShowsNoToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{crashes: true})
	w.begin()
	p := w.boundaries.process
	arrived, ended := make(chan struct{}), make(chan struct{})
	arrive := sync.OnceFunc(func() { close(arrived) })
	w.api.set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if isWriteOf(r, "secrets") {
			arrive()
			<-ended
			panic(http.ErrAbortHandler)
		}
		next.ServeHTTP(rw, r)
	})
	w.request("1")
	select {
	case <-arrived:
	case <-time.After(patience):
		t.Error("nothing is written")
	}
	for _, pid := range p.PIDs() {
		limits := tail(t, fmt.Sprintf("/proc/%d/limits", pid))
		if !regexp.MustCompile(`(?m)^Max core file size +[01] +[01] `).MatchString(limits) {
			t.Errorf("it may leave a core dump: %s", limits)
		}
		if err := syscall.Kill(pid, syscall.SIGQUIT); err != nil {
			t.Error(err)
		}
	}
	p.awaitEnd(w)
	close(ended)
	dump := tail(t, p.Logs()[0])
	for _, part := range []string{"SIGQUIT", "controllers.(*GrantReconciler).publish(", "client-go/rest.(*Request)"} {
		if !strings.Contains(dump, part) {
			t.Errorf("the dump lacks %q, so nothing is shown by it: %s", part, dump)
		}
	}
	w.search(dump)
}

// search looks for the world's secrets in what its operator has said.
func (w *world) search(said string) {
	w.t.Helper()
	var secrets canary.Watch
	secrets.Plant("the client's secret", "worker-secret")
	for _, m := range w.issuer.Minted() {
		secrets.Plant("a token", m.Token)
	}
	secrets.Said("the operator's log", said)
	if err := secrets.Found(); err != nil {
		w.t.Error(err)
	}
}
