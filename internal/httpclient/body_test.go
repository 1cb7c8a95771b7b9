package httpclient

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestTheEndOfABodyIsToldOnce(t *testing.T) {
	broken := errors.New("broken")
	closed := func(b io.ReadCloser) { _ = b.Close() }
	read := func(b io.ReadCloser) { _, _ = io.ReadAll(b) }
	for name, tc := range map[string]struct {
		body io.Reader
		does []func(io.ReadCloser)
		want error
	}{
		"closed unread":             {strings.NewReader("x"), []func(io.ReadCloser){closed}, nil},
		"read to its end":           {strings.NewReader("x"), []func(io.ReadCloser){read}, nil},
		"read, read again, closed":  {strings.NewReader("x"), []func(io.ReadCloser){read, read, closed}, nil},
		"broken off":                {iotest.ErrReader(broken), []func(io.ReadCloser){read}, broken},
		"broken off, and closed":    {iotest.ErrReader(broken), []func(io.ReadCloser){read, closed}, broken},
		"closed, and read after it": {iotest.ErrReader(broken), []func(io.ReadCloser){closed, read}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var told []error
			b := OnEnd(io.NopCloser(tc.body), func(err error) { told = append(told, err) })
			for _, do := range tc.does {
				do(b)
			}
			if len(told) != 1 || !errors.Is(told[0], tc.want) {
				t.Errorf("told %v, want [%v]", told, tc.want)
			}
		})
	}
}
