package controllers

import (
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

// TestOwnWritesWakeNobody: the watch may tell of a write before the API server has answered it.
func TestOwnWritesWakeNobody(t *testing.T) {
	key := types.NamespacedName{Namespace: "apps", Name: "g"}
	for name, tt := range map[string]struct {
		during, after string // resourceVersions that the watch tells of
		written       string
		wakes         int
	}{
		"told of while it is written":                      {during: "7", written: "7"},
		"told of when it has been written":                 {after: "7", written: "7"},
		"somebody else's, while ours is written":           {during: "8", written: "7", wakes: 1},
		"somebody else's, when ours has been written":      {after: "8", written: "7", wakes: 1},
		"somebody else's, while ours could not be written": {during: "8", wakes: 1},
	} {
		t.Run(name, func(t *testing.T) {
			var m memory
			r := m.of(key, "uid")
			woken := 0
			tell := func(resourceVersion string) {
				if resourceVersion != "" {
					m.changed(key, resourceVersion, func() { woken++ })
				}
			}
			done := m.write(r)
			tell(tt.during)
			if woken != 0 {
				t.Error("woken before it is known whose the change is")
			}
			m.setWritten(r, tt.written)
			done()
			tell(tt.after)
			if woken != tt.wakes {
				t.Errorf("woken %d times, want %d", woken, tt.wakes)
			}
		})
	}
	var m memory
	woken := false
	m.changed(key, "1", func() { woken = true })
	if !woken {
		t.Error("a grant that nothing is known of was not woken")
	}
}
