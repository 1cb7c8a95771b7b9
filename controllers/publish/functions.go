package publish

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig/v3"
)

// allowed are the functions of github.com/Masterminds/sprig/v3 that templates may call, by the name they
// have here. The list is closed: what it does not name does not exist, so a new version of the library
// brings no function that reads the environment, the clock or the network. Not in it, on purpose:
//   - what changes its argument (set, merge, …): a map that contains itself cannot be printed;
//   - what makes much out of a number (repeat, until, seq, …): range takes a number;
//   - what costs the square of its input (uniq, without), or has no fixed order (keys, values);
//   - regular expressions, cryptography, dates, random values.
//
// Where sprig has two forms, the one that fails is taken, not the one that goes on with an empty value.
var allowed = map[string]string{
	"trim": "trim", "trimAll": "trimAll", "trimPrefix": "trimPrefix", "trimSuffix": "trimSuffix",
	"upper": "upper", "lower": "lower", "trunc": "trunc", "substr": "substr",
	"contains": "contains", "hasPrefix": "hasPrefix", "hasSuffix": "hasSuffix",
	"quote": "quote", "squote": "squote", "toString": "toString", "splitList": "splitList", "sortAlpha": "sortAlpha",

	"default": "default", "empty": "empty", "coalesce": "coalesce", "ternary": "ternary", "kindIs": "kindIs",
	"int": "int", "add": "add", "sub": "sub", "mul": "mul", "div": "div", "mod": "mod",

	"list": "list", "first": "mustFirst", "last": "mustLast", "rest": "mustRest", "initial": "mustInitial",
	"append": "mustAppend", "prepend": "mustPrepend", "concat": "concat", "reverse": "mustReverse", "has": "mustHas",
	"dict": "dict", "get": "get", "hasKey": "hasKey", "pick": "pick", "omit": "omit", "dig": "dig",

	"b64enc": "b64enc", "toJson": "mustToJson", "toRawJson": "mustToRawJson", "fromJson": "mustFromJson",
}

var library = sprig.HermeticTxtFuncMap()

// functions returns what templates can call, metered. The functions of text/template that print are
// replaced by metered ones of the same name.
func (m *meter) functions() template.FuncMap {
	funcs := template.FuncMap{
		"print":    m.metered(fmt.Sprint),
		"println":  m.metered(fmt.Sprintln),
		"printf":   m.metered(printf),
		"html":     m.metered(template.HTMLEscaper),
		"js":       m.metered(template.JSEscaper),
		"urlquery": m.metered(template.URLQueryEscaper),
		"b64dec":   m.metered(b64dec),
		"indent":   m.metered(indent),
		"nindent":  m.metered(nindent),
		"replace":  m.metered(replace),
		"join":     m.metered(join),
	}
	for name, from := range allowed {
		funcs[name] = m.metered(library[from])
	}
	return funcs
}

// The functions below check before they work: their results can be far larger than their arguments.

// wide finds in a format what makes it print one argument often, or pad it to more than 99 characters.
var wide = regexp.MustCompile(`%[^%a-zA-Z]*([*[]|\d{3})`)

func printf(format string, args ...any) (string, error) {
	if wide.MatchString(format) {
		return "", refusal("printf takes no width of more than two digits, no * and no [n]")
	}
	return fmt.Sprintf(format, args...), nil
}

func indent(spaces int, text string) (string, error) {
	if spaces < 0 || spaces > 99 {
		return "", refusal("indent takes 0 to 99 spaces")
	}
	return replaceAll("\n"+text, "\n", "\n"+strings.Repeat(" ", spaces), 1)
}

func nindent(spaces int, text string) (string, error) {
	indented, err := indent(spaces, text)
	return "\n" + indented, err
}

func replace(old, replacement, text string) (string, error) {
	return replaceAll(text, old, replacement, 0)
}

// replaceAll is strings.ReplaceAll without the first skip bytes of the result.
func replaceAll(text, old, replacement string, skip int) (string, error) {
	if len(text)+strings.Count(text, old)*len(replacement) > maxValue {
		return "", errWork
	}
	return strings.ReplaceAll(text, old, replacement)[skip:], nil
}

func join(separator string, items any) (string, error) {
	toStrings, ok := library["toStrings"].(func(any) []string)
	if !ok {
		return "", fmt.Errorf("sprig's toStrings is a %T", library["toStrings"])
	}
	texts := toStrings(items)
	if len(texts)*len(separator) > maxValue {
		return "", errWork
	}
	return strings.Join(texts, separator), nil
}

// b64dec fails on what is not base64; sprig's returns the text of the error as if it were the value.
func b64dec(text string) (string, error) {
	decoded, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return "", refusal("b64dec: this is not base64")
	}
	return string(decoded), nil
}
