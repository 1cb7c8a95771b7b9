package issuer

import (
	"context"
	"sync/atomic"
	"time"
)

type departureKey struct{}

// WithDeparture lets a caller know when the last of its requests was sent, the wait for its turn over: the life of a token
// counts from there. The time is zero while none was.
func WithDeparture(ctx context.Context) (context.Context, func() time.Time) {
	var at atomic.Pointer[time.Time]
	return context.WithValue(ctx, departureKey{}, &at), func() time.Time {
		if t := at.Load(); t != nil {
			return *t
		}
		return time.Time{}
	}
}

func departs(ctx context.Context, now time.Time) {
	if at, ok := ctx.Value(departureKey{}).(*atomic.Pointer[time.Time]); ok {
		at.Store(&now)
	}
}
