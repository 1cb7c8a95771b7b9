// Package logging makes the operator's logger. It keeps one secret: from verbosity 8 on client-go logs the bodies of its
// requests through the logger of their context, and those are Secrets with all they hold.
package logging

import (
	"github.com/go-logr/logr"
	"go.uber.org/zap/zapcore"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

// Deepest is the highest verbosity that is written, whichever is asked for.
const Deepest = 7

// New makes a logger, as controller-runtime's zap.New does, that writes nothing deeper than Deepest.
func New(options ...zap.Opts) logr.Logger {
	return zap.New(append(options, func(o *zap.Options) {
		if o.Level != nil { // The defaults are far above.
			o.Level = capped{o.Level}
		}
	})...)
}

type capped struct{ zapcore.LevelEnabler }

func (c capped) Enabled(level zapcore.Level) bool {
	return level >= -Deepest && c.LevelEnabler.Enabled(level)
}
