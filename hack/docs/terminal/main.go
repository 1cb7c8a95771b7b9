// Command terminal draws what a program printed as an SVG picture of a terminal: standard input to standard output.
//
//	make demo | go run ./hack/docs/terminal -title "make demo" >docs/images/demo.svg
package main

import (
	"bufio"
	"encoding/xml"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

// Sizes in pixels. A character is given its width by textLength, so that every monospaced font fits.
const (
	characterWidth = 7.8
	lineHeight     = 18
	margin         = 16
	bar            = 34
)

func main() {
	title := flag.String("title", "", "command that was run; it is also the first line")
	columns := flag.Int("columns", 130, "longer lines are cut, and end in …")
	flag.Parse()
	lines, err := read(os.Stdin, *columns)
	if err == nil {
		err = draw(os.Stdout, *title, append([]string{"$ " + *title}, lines...), *columns)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "terminal:", err)
		os.Exit(1)
	}
}

func read(in io.Reader, columns int) ([]string, error) {
	var lines []string
	scanner := bufio.NewScanner(in)
	for scanner.Scan() {
		line := []rune(strings.TrimRight(scanner.Text(), " "))
		if len(line) > columns {
			line = append(line[:columns-1], '…')
		}
		lines = append(lines, string(line))
	}
	return lines, scanner.Err()
}

// step is a line of progress; its time is set off from its text.
var step = regexp.MustCompile(`^(\[ *[0-9.]+s\]) (.*)$`)

func draw(out io.Writer, title string, lines []string, columns int) error {
	width, height := float64(columns)*characterWidth+2*margin, bar+len(lines)*lineHeight+margin
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %d" width="%.0f" height="%d" role="img" aria-label="Output of %s"`+
		` font-family="ui-monospace, 'SF Mono', Menlo, 'DejaVu Sans Mono', monospace" font-size="13">`+"\n",
		width, height, width, height, escape(title))
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" rx="8" fill="#1b2030"/>`+"\n")
	for i, colour := range []string{"#ff5f57", "#febc2e", "#28c840"} {
		fmt.Fprintf(&b, `<circle cx="%d" cy="17" r="6" fill="%s"/>`+"\n", margin+6+i*20, colour)
	}
	for i, line := range lines {
		y, column := bar+(i+1)*lineHeight-5, 0
		for _, piece := range pieces(line) {
			write(&b, column, y, piece.colour, piece.text)
			column += len([]rune(piece.text))
		}
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(out, b.String())
	return err
}

type piece struct{ text, colour string }

func pieces(line string) []piece {
	if m := step.FindStringSubmatch(line); m != nil {
		return []piece{{m[1], "#7aa2f7"}, {" " + m[2], "#ffffff"}}
	}
	if strings.HasPrefix(line, "$ ") {
		return []piece{{line, "#9ece6a"}}
	}
	return []piece{{line, "#b4bcd0"}}
}

// write puts text at a column. Leading spaces are left out: they would be stretched with the rest.
func write(b *strings.Builder, column, y int, colour, text string) {
	bare := strings.TrimLeft(text, " ")
	column += len(text) - len(bare)
	if bare == "" {
		return
	}
	fmt.Fprintf(b, `<text x="%.1f" y="%d" fill="%s" textLength="%.1f">%s</text>`+"\n",
		margin+float64(column)*characterWidth, y, colour, float64(len([]rune(bare)))*characterWidth, escape(bare))
}

func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text))                 // a Builder takes everything
	return strings.ReplaceAll(b.String(), " ", "\u00a0") // SVG makes one space of many
}
