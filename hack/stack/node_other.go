//go:build unix && !linux

package stack

import (
	"context"
	"errors"
	"io"
)

var errNoLinux = errors.New("a node needs Linux")

// KeepNode needs Linux.
func KeepNode(context.Context, string, ...string) error { return errNoLinux }

// InitNode needs Linux.
func InitNode(context.Context, io.Reader, io.WriteCloser) error { return errNoLinux }
