// Package diagnose walks the line of one grant, or of one issuer, from the issuer to Nextcloud, with the rights of
// whoever runs it: it sends the requests that the operator sends and stops at the first that fails. What it finds is a
// Report of plain sentences and of the commands that mend what is broken; how that is shown is not its business.
//
// No token and no secret gets into a Report: messages come from keycloak and nextcloud, which clean them. Commands are built
// from names in the cluster's objects; no word of an issuer or of a Nextcloud is part of one.
package diagnose

import (
	"fmt"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/command"
)

// Result is how a step ended.
type Result string

// The results of a step.
const (
	// OK: it works.
	OK Result = "OK"
	// Warning: it works, and somebody should know something about it.
	Warning Result = "Warning"
	// Broken: it does not work. Nothing behind it was tried.
	Broken Result = "Broken"
	// Unknown: it could not be tried from here, for lack of rights or of means. Nothing behind it was tried.
	Unknown Result = "Unknown"
	// Skipped: it does not apply, or comes behind one that is Broken or Unknown.
	Skipped Result = "Skipped"
)

// Step is one step of the line.
type Step struct {
	Name   string `json:"name"`
	Result Result `json:"result"`
	// Reason is from the catalogue of reasons, where the step is Broken.
	Reason v1alpha1.Reason `json:"reason,omitempty"`
	// Message is one sentence, or two.
	Message string `json:"message"`
	// Cure is a list of commands for a POSIX shell, and of comments that start with #. Package command has built them.
	Cure []string `json:"cure,omitempty"`
}

// Report is what a walk found.
type Report struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	Steps     []Step `json:"steps"`
	// Healthy says that every step was tried, as far as it applies, and works.
	Healthy bool `json:"healthy"`
	// FirstBroken names the first step that is Broken.
	FirstBroken string `json:"firstBroken,omitempty"`
}

// First returns the first step with a result.
func (r *Report) First(result Result) (Step, bool) {
	for _, s := range r.Steps {
		if s.Result == result {
			return s, true
		}
	}
	return Step{}, false
}

// close derives the summary from the steps.
func (r *Report) close() {
	broken, isBroken := r.First(Broken)
	_, isUnknown := r.First(Unknown)
	r.FirstBroken, r.Healthy = broken.Name, !isBroken && !isUnknown
}

func ok(format string, args ...any) Step {
	return Step{Result: OK, Message: fmt.Sprintf(format, args...)}
}

func warn(format string, args ...any) Step {
	return Step{Result: Warning, Message: fmt.Sprintf(format, args...)}
}

func unknown(format string, args ...any) Step {
	return Step{Result: Unknown, Message: fmt.Sprintf(format, args...)}
}

func skip(format string, args ...any) Step {
	return Step{Result: Skipped, Message: fmt.Sprintf(format, args...)}
}

func broken(reason v1alpha1.Reason, cure script, format string, args ...any) Step {
	return Step{Result: Broken, Reason: reason, Message: fmt.Sprintf(format, args...)}.with(cure)
}

// script is what somebody runs to mend a finding.
type script []command.Command

// with adds the commands that mend the finding.
func (s Step) with(cure script) Step {
	if len(cure) > 0 {
		s.Cure = command.Script(cure...)
	}
	return s
}
