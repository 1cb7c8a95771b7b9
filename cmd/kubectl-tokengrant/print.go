package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"

	"golang.org/x/term"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/cli-runtime/pkg/printers"
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

// line prints one line of a list: mark, name and text.
func (a *app) line(state, name, text string) {
	line := strings.TrimRight(fmt.Sprintf(" %-13s %s", printable(name), printable(text)), " ")
	_, _ = io.WriteString(a.Out, "  "+a.style.mark(state)+line+"\n")
}

// printf writes a text of our own, with values that others wrote. Nothing in them can move the cursor, change or hide
// other text, or begin a line.
func printf(out io.Writer, format string, values ...any) {
	for i, v := range values {
		switch v := v.(type) {
		case error:
			values[i] = printable(v.Error())
		case fmt.Stringer:
			values[i] = printable(v.String())
		case string:
			values[i] = printable(v)
		default:
			if kind := reflect.ValueOf(v); kind.Kind() == reflect.String {
				values[i] = printable(kind.String())
			}
		}
	}
	fmt.Fprintf(out, format, values...)
}

// printable replaces control characters, those that reverse or hide text, and what is no UTF-8.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
}

// lines is printable for a text of several lines that the user of the plugin, or this program, has written.
func lines(text string) string {
	all := strings.Split(text, "\n")
	for i, line := range all {
		all[i] = printable(line)
	}
	return strings.Join(all, "\n")
}

// table writes rows whose cells stand below each other.
func table(out io.Writer, rows [][]string) {
	w := printers.GetNewTabWriter(out)
	defer func() { _ = w.Flush() }()
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = printable(cell)
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
}

// print writes an object as --output says; text writes it for people.
func (a *app) print(object any, text func()) error {
	switch a.output {
	case "json":
		return writeJSON(a.Out, object, jsonEscape)
	case "yaml":
		return writeYAML(a.Out, object)
	}
	text()
	return nil
}

// writeJSON writes indented JSON in which all characters that cannot be printed are escaped.
func writeJSON(out io.Writer, object any, escape func(rune) string) error {
	var document bytes.Buffer
	encoder := json.NewEncoder(&document)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(object); err != nil {
		return err
	}
	_, err := io.WriteString(out, escaped(document.String(), escape))
	return err
}

// jsonEscape and yamlEscape are how a character is written between double quotes (RFC 8259 §7, YAML 1.2 §5.7).
func jsonEscape(r rune) string {
	if r <= 0xffff {
		return fmt.Sprintf(`\u%04x`, r)
	}
	high, low := utf16.EncodeRune(r)
	return fmt.Sprintf(`\u%04x\u%04x`, high, low)
}

func yamlEscape(r rune) string { return fmt.Sprintf(`\U%08x`, r) }

// escaped is a document of JSON without characters that cannot be printed: they are within its strings only.
func escaped(document string, escape func(rune) string) string {
	var out strings.Builder
	for _, r := range document {
		if unicode.IsPrint(r) || r == '\n' {
			out.WriteRune(r)
		} else {
			out.WriteString(escape(r))
		}
	}
	return out.String()
}

// writeYAML writes JSON, which YAML takes, where a character cannot be printed: only between double quotes YAML has escapes.
func writeYAML(out io.Writer, object any) error {
	document, err := yaml.Marshal(object) // it fails at some control characters
	if err != nil || bytes.ContainsFunc(document, func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' && r != '\t' }) {
		return writeJSON(out, object, yamlEscape)
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
