package skew_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/tokengrant/tokengrant/internal/skew"
)

// apiServer serves an OpenAPI document of the group.
type apiServer struct {
	mu sync.Mutex
	// fields are the properties of spec of a TokenGrant; "" serves no document.
	fields string
	hash   int
	status int
	// documents counts how often the document itself was asked for.
	documents int
}

func (a *apiServer) serve(fields string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fields = fields
	a.hash++
}

func (a *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	const path = "/openapi/v3/apis/tokengrant.dev/v1alpha1"
	switch {
	case a.status != 0:
		w.WriteHeader(a.status)
	case r.URL.Path == path:
		a.documents++
		_, _ = fmt.Fprintf(w, `{"components":{"schemas":{
			"x.Other":{"properties":{"spec":{"properties":{"new":{}}}},"x-kubernetes-group-version-kind":[{"group":"other.dev","version":"v1alpha1","kind":"TokenGrant"}]},
			"x.TokenGrant":{"properties":{"spec":{"properties":{%s}}},"x-kubernetes-group-version-kind":[{"group":"tokengrant.dev","version":"v1alpha1","kind":"TokenGrant"}]}}}}`, a.fields)
	case a.fields == "":
		_, _ = fmt.Fprint(w, `{"paths":{}}`)
	default:
		_, _ = fmt.Fprintf(w, `{"paths":{"apis/tokengrant.dev/v1alpha1":{"serverRelativeURL":"%s?hash=%d"}}}`, path, a.hash)
	}
}

const (
	sameFields  = `"suspend":{"type":"boolean"}`
	newerFields = sameFields + `,"volume":{"type":"object"}`
)

func TestTheServedSchemaIsCompared(t *testing.T) {
	a := &apiServer{}
	server := httptest.NewServer(a)
	defer server.Close()
	s, err := skew.NewServed(&rest.Config{Host: server.URL}, clocktesting.NewFakeClock(time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	changes := 0
	s.OnChange(func() { changes++ })
	for i, step := range []struct {
		what      string
		fields    string
		want      []string
		changes   int
		documents int
	}{
		{"no CRDs", "", nil, 0, 0},
		{"the same fields", sameFields, nil, 0, 1},
		{"a newer CRD", newerFields, []string{"TokenGrant spec.volume"}, 1, 2},
		{"the CRD is away for a moment", "", []string{"TokenGrant spec.volume"}, 1, 2},
		{"another description", newerFields, []string{"TokenGrant spec.volume"}, 1, 3},
		{"rolled back", sameFields, nil, 2, 4},
	} {
		a.serve(step.fields)
		for range 2 { // The document of one hash is read once.
			if err := s.Refresh(t.Context()); err != nil {
				t.Fatalf("%s: %v", step.what, err)
			}
		}
		if diff := cmp.Diff(step.want, s.All()); diff != "" {
			t.Errorf("%d, %s (-want +got):\n%s", i, step.what, diff)
		}
		if changes != step.changes || a.documents != step.documents {
			t.Errorf("%s: %d changes, want %d; the document was read %d times, want %d", step.what, changes, step.changes, a.documents, step.documents)
		}
	}
}

func TestASchemaThatCannotBeReadIsToldFromOneThatMayNot(t *testing.T) {
	a := &apiServer{}
	server := httptest.NewServer(a)
	defer server.Close()
	s, err := skew.NewServed(&rest.Config{Host: server.URL}, clocktesting.NewFakeClock(time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	for status, unreadable := range map[int]bool{http.StatusForbidden: true, http.StatusNotFound: true, http.StatusInternalServerError: false} {
		a.status = status
		if err := s.Refresh(t.Context()); err == nil || skew.Unreadable(err) != unreadable {
			t.Errorf("%d: %v", status, err)
		}
	}
	a.status = 0
	a.serve(`"spec":`) // no JSON
	if err := s.Refresh(t.Context()); err == nil || skew.Unreadable(err) {
		t.Errorf("no JSON: %v", err)
	}
}

func TestAChangeOfTheCRDsIsSeenWhileTheOperatorRuns(t *testing.T) {
	a := &apiServer{}
	a.serve(sameFields)
	server := httptest.NewServer(a)
	defer server.Close()
	clock := clocktesting.NewFakeClock(time.Now())
	s, err := skew.NewServed(&rest.Config{Host: server.URL}, clock)
	if err != nil {
		t.Fatal(err)
	}
	changed := make(chan struct{}, 1)
	s.OnChange(func() { changed <- struct{}{} })
	if err := s.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Start(ctx) }()
	a.serve(newerFields)
	for deadline := time.Now().Add(10 * time.Second); !clock.HasWaiters() && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	clock.Step(10 * time.Second)
	select {
	case <-changed:
	case <-time.After(10 * time.Second):
		t.Error("not seen")
	}
	if diff := cmp.Diff([]string{"spec.volume"}, s.Unknown("TokenGrant")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
