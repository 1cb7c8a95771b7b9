package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"

	"golang.org/x/term"
	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/yaml"
)

// style is how the marks look.
type style struct{ fancy bool }

// styleOf is fancy on a terminal, unless NO_COLOR (https://no-color.org) or TERM=dumb says otherwise.
func styleOf(out *os.File, env func(string) (string, bool)) style {
	plain, _ := env("NO_COLOR")
	kind, _ := env("TERM")
	return style{fancy: plain == "" && kind != "dumb" && term.IsTerminal(int(out.Fd()))}
}

// The states of a line that has a mark.
const (
	stateOK      = "OK"
	stateWarning = "Warning"
	stateBroken  = "Broken"
	stateUnknown = "Unknown"
	stateWaiting = "Waiting"
	stateSkipped = "Skipped"
)

var marks = map[string]struct{ plain, fancy, color string }{
	stateOK:      {"ok  ", "✓", "32"},
	stateWarning: {"warn", "!", "33"},
	stateBroken:  {"FAIL", "✗", "31"},
	stateUnknown: {"?   ", "?", "33"},
	stateWaiting: {"-   ", "·", "2"},
	stateSkipped: {"-   ", "·", "2"},
}

func (s style) mark(state string) string {
	m := marks[state]
	if !s.fancy {
		return m.plain
	}
	return "\x1b[" + m.color + "m" + m.fancy + "\x1b[0m"
}

// line prints one line of a list: mark, name and text. Texts hold what others wrote, so nothing in them reaches the
// terminal that is not printable.
func (a *app) line(state, name, text string) {
	fmt.Fprintln(a.Out, strings.TrimRight(fmt.Sprintf("  %s %-13s %s", a.style.mark(state), name, printable(text)), " "))
}

func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
}

// print writes an object as --output says; text writes it for people.
func (a *app) print(object any, text func()) error {
	switch a.output {
	case "json":
		encoder := json.NewEncoder(a.Out)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(object)
	case "yaml":
		return writeYAML(a.Out, object)
	}
	text()
	return nil
}

func writeYAML(out io.Writer, object any) error {
	document, err := yaml.Marshal(object)
	if err != nil {
		return err
	}
	_, err = out.Write(document)
	return err
}

// since and until are durations as kubectl writes ages.
func since(now, t time.Time) string { return duration.HumanDuration(now.Sub(t)) }

// until says how far a time lies ahead, or behind.
func until(now, t time.Time) string {
	if t.Before(now) {
		return since(now, t) + " ago"
	}
	return "in " + duration.HumanDuration(t.Sub(now))
}
