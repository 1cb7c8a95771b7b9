package issuer

import (
	"context"
	"sync/atomic"
	"time"
)

type sentAtKey struct{}

// WithSentAt returns a function that reports when the last request with the context was sent. Time spent waiting for a slot does
// not count against the token's lifetime. The time is zero before the first request.
func WithSentAt(ctx context.Context) (context.Context, func() time.Time) {
	var at atomic.Pointer[time.Time]
	return context.WithValue(ctx, sentAtKey{}, &at), func() time.Time {
		if t := at.Load(); t != nil {
			return *t
		}
		return time.Time{}
	}
}

func recordSentAt(ctx context.Context, now time.Time) {
	if at, ok := ctx.Value(sentAtKey{}).(*atomic.Pointer[time.Time]); ok {
		at.Store(&now)
	}
}
