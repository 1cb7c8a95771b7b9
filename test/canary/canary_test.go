package canary

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"testing"
)

const (
	secret  = `s3cret+with/odd="characters"`
	jwt     = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSIsInNjb3BlIjoib3BlbmlkIn0.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"
	private = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIIrYSSNQFaA2Hwf1duRSxKtLYX5CB04fSeQ6tF1aY/PuoAoGCCqGSM49\n" +
		"AwEHoUQDQgAEPR3tU2Fta9ktY+6P9G0cWO+0kETA6SFs38GecTyudlHz6xvCdz8q\n-----END EC PRIVATE KEY-----\n"
)

func TestSecretsAreFound(t *testing.T) {
	basic := func(user string) string { return base64.StdEncoding.EncodeToString([]byte(user + ":" + secret)) }
	parts := strings.Split(jwt, ".")
	for name, text := range map[string]string{
		"as it is":                           secret,
		"quoted":                             fmt.Sprintf("%q", secret),
		"in a URL":                           "https://example.com/?client_secret=" + url.QueryEscape(secret),
		"in a path":                          "https://example.com/" + url.PathEscape(secret),
		"in base64":                          base64.StdEncoding.EncodeToString([]byte(secret)),
		"in base64 for URLs":                 base64.RawURLEncoding.EncodeToString([]byte(secret)),
		"as the password of a":               basic("a"),
		"as the password of ab":              basic("ab"),
		"as the password of abc":             basic("abc"),
		"in hexadecimal":                     hex.EncodeToString([]byte(secret)),
		"the signature of a token":           parts[2],
		"the payload of a token":             parts[1],
		"the claims of a token":              `{"sub":"alice","scope":"openid"}`,
		"one line of a key":                  "AwEHoUQDQgAEPR3tU2Fta9ktY+6P9G0cWO+0kETA6SFs38GecTyudlHz6xvCdz8q",
		"any token":                          "eyJhbGciOiJub25lIn0.e30.",
		"any token in base64":                base64.StdEncoding.EncodeToString([]byte("eyJhbGciOiJub25lIn0.e30.")),
		"any token after a byte, in base64":  base64.StdEncoding.EncodeToString([]byte("-eyJhbGciOiJub25lIn0.e30.")),
		"any token after two, in base64":     base64.StdEncoding.EncodeToString([]byte("--eyJhbGciOiJub25lIn0.e30.")),
		"any key":                            "-----BEGIN PRIVATE KEY-----",
		"any header":                         "Authorization: Bearer abcdefghijklmnop",
		"what client-go sends and receives":  `Response Body {"body": "00000000  6b 38 73"}`,
		"on a line that has not yet its end": "no end: " + secret,
	} {
		t.Run(name, func(t *testing.T) {
			var w Watch
			if _, err := w.Write([]byte("nothing here\nfrom here " + text)); err != nil {
				t.Fatal(err)
			}
			w.Plant("the client's secret", secret)
			w.Plant("a token", jwt)
			w.Plant("a key", private)
			err := w.Found()
			if err == nil || !strings.Contains(err.Error(), "a log says") {
				t.Fatalf("not found in %s: %v", text, err)
			}
			for _, s := range []string{secret, parts[2], text} {
				if strings.Contains(err.Error(), s) {
					t.Errorf("the finding shows what was found: %v", err)
				}
			}
		})
	}
}

func TestHarmlessTextIsNotFound(t *testing.T) {
	var w Watch
	if err := w.Found(); err == nil || !strings.Contains(err.Error(), "cannot find anything") {
		t.Errorf("a search for nothing in nothing: %v", err)
	}
	w.Plant("the client's secret", secret, "short")
	w.Plant("a token", jwt)
	w.Said("a status", `Ready: published a token for "nextcloud" in short, the header eyJhbGci… is no secret, [redacted] neither`)
	fmt.Fprintln(&w, `{"level":"info","msg":"Bearer tokens are refused","basic":"auth","secret":"worker","key":"client-secret"}`)
	if err := w.Found(); err != nil {
		t.Error(err)
	}
	if got := w.Planted(); !strings.HasPrefix(got, "3 secret values, searched in 2 texts") {
		t.Error(got)
	}
}
