package canary

import (
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"net/url"
	"slices"
	"strings"
)

// formsOf gives a value as it may be written, each form once.
func formsOf(value string) []form {
	forms := []form{{text: value}}
	add := func(what string, texts ...string) {
		for _, text := range texts {
			if !slices.ContainsFunc(forms, func(f form) bool { return f.text == text }) {
				forms = append(forms, form{text: text, what: ", " + what})
			}
		}
	}
	add("in base64", insideBase64(value)...)
	add("in a URL", url.QueryEscape(value), url.PathEscape(value))
	add("in JSON", inJSON(value))
	add("in hexadecimal", hex.EncodeToString([]byte(value)), strings.ToUpper(hex.EncodeToString([]byte(value))))
	add("in base32", strings.TrimRight(base32.StdEncoding.EncodeToString([]byte(value)), "="))
	add("without its spaces", strings.Join(strings.Fields(value), ""))
	if parts := strings.Split(value, "."); len(parts) == 3 { // the header of a JWT is no secret
		add("its payload", parts[1])
		add("its signature", parts[2])
		if payload, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil {
			add("its claims", string(payload))
		}
	}
	if block, _ := pem.Decode([]byte(value)); block != nil && strings.Contains(block.Type, "PRIVATE KEY") {
		lines := strings.Split(strings.TrimSpace(value), "\n")
		add("a line of it", lines[1:len(lines)-1]...)
	}
	return forms
}

// insideBase64 gives what a value leaves in a text that was encoded with it inside, as the password of a basic-auth pair:
// where the value begins within a group of three bytes decides on its characters, and those at its ends are shared with
// its neighbours.
func insideBase64(value string) []string {
	var forms []string
	for before := range 3 {
		padded := strings.Repeat("\x00", before) + value
		first, end := (before*8+5)/6, len(padded)*8/6
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			if text := encoding.EncodeToString([]byte(padded)); first < end {
				forms = append(forms, text[first:end])
			}
		}
	}
	return forms
}

func inJSON(value string) string {
	text, err := json.Marshal(value)
	if err != nil {
		return value
	}
	return string(text[1 : len(text)-1])
}
