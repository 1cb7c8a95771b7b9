package stack

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// Progress writes one line for each step, with the seconds since it began:
//
//	[ 12.3s] Keycloak 26.7.3 is up at http://127.0.0.1:24811
type Progress struct {
	mu    sync.Mutex
	out   io.Writer
	now   func() time.Time
	start time.Time
}

// NewProgress starts counting now.
func NewProgress(out io.Writer) *Progress {
	return newProgress(out, time.Now)
}

func newProgress(out io.Writer, now func() time.Time) *Progress {
	return &Progress{out: out, now: now, start: now()}
}

// Sayf writes one line.
func (p *Progress) Sayf(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, "[%6.1fs] %s\n", p.now().Sub(p.start).Seconds(), fmt.Sprintf(format, args...))
}

// every says what detail returns at each interval until the returned function is
// called, so that nobody takes a long step for a hanging one.
func (p *Progress) every(interval time.Duration, detail func() string) (stop func()) {
	ticker, done := time.NewTicker(interval), make(chan struct{})
	go func() {
		for {
			select {
			case <-ticker.C:
				p.Sayf("%s", detail())
			case <-done:
				return
			}
		}
	}()
	return func() {
		ticker.Stop()
		close(done)
	}
}

type progressKey struct{}

// WithProgress makes the functions of this package report to p.
// Without it they report to standard error.
func WithProgress(ctx context.Context, p *Progress) context.Context {
	return context.WithValue(ctx, progressKey{}, p)
}

var standardError = sync.OnceValue(func() *Progress { return NewProgress(os.Stderr) })

func progress(ctx context.Context) *Progress {
	if p, ok := ctx.Value(progressKey{}).(*Progress); ok {
		return p
	}
	return standardError()
}

// Sayf writes one line to the progress of ctx.
func Sayf(ctx context.Context, format string, args ...any) {
	progress(ctx).Sayf(format, args...)
}

// took returns a function that says how long it was since the call of took.
func took(ctx context.Context) func() string {
	p := progress(ctx)
	start := p.now()
	return func() string { return p.now().Sub(start).Round(100 * time.Millisecond).String() }
}
