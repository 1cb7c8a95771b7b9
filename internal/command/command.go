// Package command builds the commands that the operator and its plugin print for a person to paste into a shell.
//
// Names and values in them come from objects that tenants write. A constant is printed as it is, and only a literal can be
// one, because its type is not exported. Every value is quoted for a POSIX shell, and its program takes it for nothing
// else than a value. A value that cannot be printed is refused, and then there is no command at all.
package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// constant is text of our own: other packages can pass an untyped literal for it and nothing else.
type constant string

// Why there is no command.
var (
	// ErrUnprintable refuses control characters, those that reverse or hide text, and what is no UTF-8.
	ErrUnprintable = errors.New("a value in it has a character that cannot be printed")
	// ErrOption refuses what its program would take for an option.
	ErrOption = errors.New("a value in it begins with -")
	// ErrURL refuses what is no http or https URL with a host and without a user.
	ErrURL = errors.New("a value in it is no https URL")
)

// endsOptions are the programs that take everything behind -- for operands. kubectl create refuses it, and kcadm.sh does
// not know it.
var endsOptions = []string{"occ"}

// Command is a command, or a comment. Its methods return a new one.
type Command struct {
	words   []word
	program string
	err     error
}

type word struct {
	text    string
	operand bool
	// dashed says that the operand begins with -.
	dashed bool
}

// New begins a command with its program and other constant words.
func New(words constant) Command {
	program, _, _ := strings.Cut(string(words), " ")
	return Command{program: program}.Words(words)
}

// Comment is a line that a shell passes over. It must not have quotes and the like: an interactive zsh takes a comment
// for a command.
func Comment(text constant) Command { return Command{}.Words("# " + text) }

// Words adds words as they are.
func (c Command) Words(words constant) Command { return c.with(word{text: string(words)}) }

// Flag adds an option and its value. Behind a name that ends with = or / the value is part of the same word.
func (c Command) Flag(name constant, value string) Command {
	if strings.HasSuffix(string(name), "=") || strings.HasSuffix(string(name), "/") {
		return c.check(value).with(word{text: string(name) + quote(value)})
	}
	if strings.HasPrefix(value, "-") {
		return c.refuse(ErrOption)
	}
	return c.check(value).with(word{text: string(name) + " " + quote(value)})
}

// Arg adds an operand. One that begins with - goes behind --, or is refused where the program does not know that.
func (c Command) Arg(value string) Command {
	dashed := strings.HasPrefix(value, "-")
	if dashed && !slices.Contains(endsOptions, c.program) {
		return c.refuse(ErrOption)
	}
	return c.check(value).with(word{text: quote(value), operand: true, dashed: dashed})
}

// JSON adds an option whose value is a JSON document.
func (c Command) JSON(name constant, value any) Command {
	var document bytes.Buffer
	encoder := json.NewEncoder(&document)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return c.refuse(ErrUnprintable)
	}
	return c.Flag(name, strings.TrimSpace(document.String()))
}

// URL adds an address as an operand.
func (c Command) URL(address string) Command {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
		return c.refuse(ErrURL)
	}
	return c.Arg(address)
}

// kcadm.sh reads JSON where a value begins like it, whatever follows. Words other than literals are no JSON.
var (
	wordFirst    = regexp.MustCompile(`^[A-Za-z_]`)
	literalFirst = regexp.MustCompile(`^(true|false|null)\b`)
)

// Set adds an attribute for kcadm.sh, -s name=value. kcadm.sh reads a value as JSON where it can; this one is always a
// string.
func (c Command) Set(name constant, value string) Command {
	if !wordFirst.MatchString(value) || literalFirst.MatchString(value) {
		return c.JSON("-s "+name+"=", value)
	}
	return c.Flag("-s "+name+"=", value)
}

// Join continues the last word.
func (c Command) Join(text constant) Command {
	c.words = slices.Clone(c.words)
	c.words[len(c.words)-1].text += string(text)
	return c
}

// Pipe sends the output to another command.
func (c Command) Pipe(next Command) Command {
	return c.replace(c.render()+" | "+next.render(), next.err)
}

// Into keeps the output in a variable of the shell.
func (c Command) Into(variable constant) Command {
	return c.replace(string(variable)+"=$("+c.render()+")", nil)
}

// Text returns the command, or the reason why there is none.
func (c Command) Text() (string, error) {
	if c.err != nil {
		return "", c.err
	}
	return c.render(), nil
}

// Script returns the lines of several commands. Where one is refused there is none, only the reason as a comment: the
// others would run with the variables of another script.
func Script(commands ...Command) []string {
	lines := make([]string, 0, len(commands))
	for _, c := range commands {
		line, err := c.Text()
		if err != nil {
			return []string{"# There is no command here: " + err.Error()}
		}
		lines = append(lines, line)
	}
	return lines
}

func (c Command) with(w word) Command {
	c.words = append(slices.Clip(c.words), w)
	return c
}

func (c Command) replace(text string, err error) Command {
	if c.err == nil {
		c.err = err
	}
	c.words = []word{{text: text}}
	return c
}

func (c Command) refuse(err error) Command {
	if c.err == nil {
		c.err = err
	}
	return c
}

func (c Command) check(value string) Command {
	if !utf8.ValidString(value) || strings.ContainsFunc(value, unprintable) {
		return c.refuse(ErrUnprintable)
	}
	return c
}

// unprintable is also true for the character that stands for what could not be decoded.
func unprintable(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }

// render keeps the order of the words, unless an operand has to go behind --.
func (c Command) render() string {
	var all, options, operands []string
	dashed := false
	for _, w := range c.words {
		all = append(all, w.text)
		if w.operand {
			operands = append(operands, w.text)
		} else {
			options = append(options, w.text)
		}
		dashed = dashed || w.dashed
	}
	if dashed {
		all = slices.Concat(options, []string{"--"}, operands)
	}
	return strings.Join(all, " ")
}

// plain are the words that sh, bash and zsh take as they are.
var plain = regexp.MustCompile(`^[A-Za-z0-9_./:@%+-][A-Za-z0-9_./:@%+=-]*$`)

func quote(value string) string {
	if plain.MatchString(value) {
		return value
	}
	return "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
}
