package e2e

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
)

// TestMain stops what runs also when the tests are interrupted: a cluster must leave nothing behind.
func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard()) // the client has nothing to say that the tests do not
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupted
		fmt.Fprintln(os.Stderr, "interrupted: stopping the cluster")
		theNode.close()
		os.Exit(130)
	}()
	code := m.Run()
	theNode.close()
	os.Exit(code)
}
