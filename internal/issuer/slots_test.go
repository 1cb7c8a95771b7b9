package issuer

import (
	"testing"
	"time"

	testingclock "k8s.io/utils/clock/testing"
)

func TestSlotsFollowTheLimits(t *testing.T) {
	for _, tt := range []struct {
		rate        float64
		concurrency int
		want        int
	}{
		{50, 16, 20}, {1, 16, 2}, {0.2, 16, 1}, {5, 16, 10}, {10000, 1, 5}, {0, 0, 20},
	} {
		g := newGate(Config{RequestsPerSecond: tt.rate, Concurrency: tt.concurrency, Clock: testingclock.NewFakeClock(time.Unix(0, 0))})
		if got := g.slots().Slots; got != tt.want {
			t.Errorf("%v a second, %d at once: %d slots, want %d", tt.rate, tt.concurrency, got, tt.want)
		}
	}
}
