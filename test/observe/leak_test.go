//go:build integration

package observe

import (
	"context"
	"net"
	"os"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/hack/stack"
	"github.com/tokengrant/tokengrant/test/audit"
	"github.com/tokengrant/tokengrant/test/canary"
)

// traces is a collector that keeps what it is sent.
type traces struct {
	collector.UnimplementedTraceServiceServer

	leaks *canary.Watch
}

func (r traces) Export(_ context.Context, request *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	r.leaks.Said("a trace", request.String())
	return &collector.ExportTraceServiceResponse{}, nil
}

// collects starts a collector of traces and gives its endpoint.
func collects(t *testing.T, leaks *canary.Watch) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, traces{leaks: leaks})
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return "http://" + listener.Addr().String()
}

// tellsNoSecret stops the operator and searches everything that it has told: the log of all verbosities, each version of
// the statuses and events, the traces, and all pages, those of profiles included.
func tellsNoSecret(t *testing.T, c *cluster) {
	for path, reader := range map[string]string{
		"/metrics": c.prometheus, "/status": c.person, "/debug/pprof/": c.person, "/debug/pprof/cmdline": c.person,
		"/debug/pprof/goroutine?debug=2": c.person, "/debug/pprof/heap?debug=1": c.person, "/debug/pprof/trace?seconds=1": c.person,
	} {
		status, page := c.read(path, reader)
		if status != 200 {
			t.Errorf("%s answers %d", path, status)
		}
		c.leaks.Said("the page "+path, page)
	}
	if err := c.operator.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, file := range c.operator.Logs() {
		log, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		c.leaks.Said("the operator's log", string(log))
	}
	for what, text := range map[string]string{"a trace of a refresh": "token_exchange", "a verbose log": "DEBUG"} {
		if !c.leaks.Heard(text) {
			t.Errorf("there is no %s to search in", what)
		}
	}
	t.Log(c.leaks.Planted())
	if err := c.leaks.Found(); err != nil {
		t.Error(err)
	}
}

// needsItsRoles compares what the operator did as a process with the permissions that only a process needs: for the lease,
// and to ask who reads its pages. test/integration does so with all others.
func needsItsRoles(t *testing.T, c *cluster) {
	requests, err := c.audit.Requests()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range audit.Refused(requests) {
		t.Errorf("the operator was refused %s", r)
	}
	var lease rbacv1.Role
	var reviews rbacv1.ClusterRole
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: stack.OperatorNamespace, Name: "tokengrant-leader-election"}, &lease); err != nil {
		t.Fatal(err)
	}
	if err := c.Get(t.Context(), client.ObjectKey{Name: "tokengrant-metrics-auth"}, &reviews); err != nil {
		t.Fatal(err)
	}
	everywhere := rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"namespaces"}, Verbs: []string{"watch"}}
	rules := append(append(lease.Rules, reviews.Rules...), everywhere)
	if err := audit.Unexplained(rules, requests, nil); err != nil {
		t.Error(err)
	}
}
