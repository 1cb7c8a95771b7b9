package httpclient

import (
	"errors"
	"io"
	"sync"
)

// OnEnd returns a body that calls ended once, as soon as nothing more is read from it: with nil when it was read to its
// end or closed, else with the error that a read met.
func OnEnd(body io.ReadCloser, ended func(error)) io.ReadCloser {
	return &endingBody{ReadCloser: body, ended: ended}
}

type endingBody struct {
	io.ReadCloser
	once  sync.Once
	ended func(error)
}

func (b *endingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case errors.Is(err, io.EOF):
		b.end(nil)
	case err != nil:
		b.end(err)
	}
	return n, err
}

func (b *endingBody) Close() error {
	b.end(nil)
	return b.ReadCloser.Close()
}

func (b *endingBody) end(err error) { b.once.Do(func() { b.ended(err) }) }
