//go:build integration && linux

package faults

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/hack/stack"
)

// TestOutOfMemory leaves the operator as it is shipped no memory to grow, and fills its cache with Secrets that look like its
// own, until it dies of it.
func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	for i, row := range []struct {
		name string
		// limit binds a process, and gives what tells whether it died of that.
		limit func(t *testing.T, p *process) (died func() error, err error)
	}{
		{"operator out of memory", limitData},
		{"operator killed at its memory limit", limitGroup},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, setup{crashes: true})
			w.begin()
			r := result{order: 290 + i, scenario: row.name, says: "the process ends", Step: processStart, allowed: promise{Crashes: 1}}
			died, err := row.limit(t, w.boundaries.process)
			if errors.Is(err, errNotHere) {
				r.says = "not measured: " + err.Error()
				w.judge(r)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			large := w.fill()
			if err := died(); err != nil {
				t.Error(err)
			}
			w.search(tail(t, w.boundaries.process.Logs()[0]))
			w.request("1")
			for i := range large {
				w.delete(fmt.Sprint("large-", i))
			}
			gone := time.Now()
			w.startAgain()
			w.awaitWell("1")
			r.Recovery = time.Since(gone)
			w.judge(r)
		})
	}
}

// fill makes large Secrets until the process has ended, and says how many.
func (w *world) fill() (n int) {
	w.t.Helper()
	ours := map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue}
	for ; len(w.boundaries.process.PIDs()) > 0 && n < 40; n++ {
		w.secret(fmt.Sprint("large-", n), map[string]string{"data": strings.Repeat("x", 900<<10)}, ours)
	}
	w.boundaries.process.awaitEnd(w)
	return n
}

// limitData lets the kernel refuse more memory to the process, so that it ends by itself.
func limitData(t *testing.T, p *process) (died func() error, err error) {
	t.Helper()
	for _, pid := range p.PIDs() {
		limit := dataOf(t, pid) + 1<<20
		if err := unix.Prlimit(pid, unix.RLIMIT_DATA, &unix.Rlimit{Cur: limit, Max: limit}, nil); err != nil {
			return nil, err
		}
	}
	return func() error {
		log := tail(t, p.Logs()[0])
		for _, says := range []string{"out of memory", "cannot allocate memory", "pthread_create failed", "failed to create new OS thread"} {
			if strings.Contains(log, says) {
				return nil
			}
		}
		return fmt.Errorf("it did not die of want of memory: %s", log)
	}, nil
}

// dataOf is how much writable memory a process has of its own.
func dataOf(t *testing.T, pid int) uint64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmData:")
	var kilobytes uint64
	if _, err := fmt.Sscan(rest, &kilobytes); err != nil {
		t.Fatal(err)
	}
	return kilobytes << 10
}

func tail(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestLeaseLostMidWrite takes the lease from a leader whose write of a Secret is on its way. The write arrives when another
// one leads.
func TestLeaseLostMidWrite(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	gate, config := newAPIGate(t)
	first := startProcess(t, config, w.namespace, true)
	w.begin()
	holder := w.holder()
	_, otherConfig := newAPIGate(t)
	startProcess(t, otherConfig, w.namespace, true)

	led := make(chan struct{})
	var arrived sync.WaitGroup
	gate.set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		switch {
		case strings.Contains(r.URL.Path, "/leases"):
			panic(http.ErrAbortHandler)
		case isWriteOf(r, "secrets"):
			arrived.Add(1)
			defer arrived.Done()
			<-led
			next.ServeHTTP(rw, r.WithContext(context.WithoutCancel(r.Context())))
		default:
			next.ServeHTTP(rw, r)
		}
	})
	w.request("1")
	first.awaitEnd(w)
	gone := time.Now()
	w.eventually("another leader", func() (bool, any) {
		now := w.holder()
		return now != holder && now != "", now
	})
	close(led)
	arrived.Wait()
	w.awaitWell("1")
	w.judge(result{
		order: 292, scenario: "lease lost while a Secret is written", says: "the process ends", Recovery: time.Since(gone),
		Step:    15 * time.Second, // the lease
		allowed: promise{Crashes: 1},
	})
}

// holder is who leads.
func (w *world) holder() string {
	w.t.Helper()
	var lease coordinationv1.Lease
	if err := w.Get(w.t.Context(), client.ObjectKey{Namespace: stack.OperatorNamespace, Name: "leader.tokengrant.dev"}, &lease); err != nil {
		w.t.Fatal(err)
	}
	if lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}
