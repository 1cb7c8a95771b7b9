// Package recording reads the exchanges with a real Nextcloud that the tests replay: testdata/recordings.jsonl, one
// exchange a line, trimmed as testdata/README.md says.
package recording

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"
)

// Recording is one exchange.
type Recording struct {
	Name        string            `json:"name"`
	Case        string            `json:"case"`
	Method      string            `json:"method"`
	Path        string            `json:"path"`
	Request     map[string]string `json:"request"`
	RequestBody string            `json:"requestBody"`
	Auth        *Auth             `json:"auth"`
	// Date is the server's clock at the answer.
	Date   time.Time         `json:"date"`
	Status int               `json:"status"`
	Header map[string]string `json:"header"`
	Body   string            `json:"body"`
}

// Number is the first part of the name: it orders the recordings and names them in tables.
func (r Recording) Number() string {
	number, _, _ := strings.Cut(r.Name, "-")
	return number
}

// Auth is the Authorization header of the request, without the secret.
type Auth struct {
	Scheme string `json:"scheme"`
	User   string `json:"user"`
	// Secret stands for what was sent: "account" for the account's password, "app-N" for an app password, else the text itself.
	Secret string `json:"secret"`
	JWT    *JWT   `json:"jwt"`
}

// JWT describes a token well enough to sign it again with another key.
type JWT struct {
	Algorithm string         `json:"alg"`
	KeyID     string         `json:"kid"`
	Tampered  bool           `json:"tampered"`
	Claims    map[string]any `json:"claims"`
}

// Load reads every recording of the file.
func Load(path string) ([]Recording, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var all []Recording
	lines := bufio.NewScanner(bytes.NewReader(raw))
	for lines.Scan() {
		var r Recording
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", path, len(all)+1, err)
		}
		all = append(all, r)
	}
	return all, lines.Err()
}
