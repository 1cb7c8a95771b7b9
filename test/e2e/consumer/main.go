// Command consumer is an application in a pod that uses a token from a file. It is what the end-to-end tests run on a
// real node.
//
//	consumer watch FILE      reads the file fifty times a second, and tells twice a second what it has seen
//	consumer webdav FILE URL uses the token for WebDAV at a Nextcloud: writes a file, reads it, deletes it
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
)

func main() {
	err := errors.New("consumer watch FILE | consumer webdav FILE URL")
	switch {
	case len(os.Args) == 3 && os.Args[1] == "watch":
		err = watch(os.Args[2])
	case len(os.Args) == 4 && os.Args[1] == "webdav":
		err = webdav(os.Args[2], os.Args[3])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "consumer:", err)
		os.Exit(1)
	}
}

// Seen is a token as the consumer saw it. It never holds the token.
type Seen struct {
	ID     string    `json:"id"`
	At     time.Time `json:"at"`     // when it was first read
	Until  time.Time `json:"until"`  // when it was last read
	Expiry time.Time `json:"expiry"` // when it expires
	Reads  int       `json:"reads"`
}

// watch polls every 20 ms, to see when a token arrives, and prints what it has seen of each when it goes, and twice a
// second as long as it is there.
func watch(file string) error {
	var now Seen
	out, printed := json.NewEncoder(os.Stdout), time.Time{}
	for range time.Tick(20 * time.Millisecond) {
		token, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		id, expiry, err := claims(string(token))
		if err != nil {
			return err
		}
		at := time.Now()
		if id != now.ID {
			if err := out.Encode(now); err != nil {
				return err
			}
			now, printed = Seen{ID: id, At: at, Expiry: expiry}, time.Time{}
		}
		now.Until = at
		now.Reads++
		if at.Sub(printed) < 500*time.Millisecond {
			continue
		}
		printed = at
		if err := out.Encode(now); err != nil {
			return err
		}
	}
	return nil
}

func claims(token string) (id string, expiry time.Time, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", time.Time{}, errors.New("the file holds no JWT")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", time.Time{}, errors.New("the JWT's payload is not base64")
	}
	var c struct {
		JTI string `json:"jti"`
		Exp int64  `json:"exp"`
	}
	if err := json.Unmarshal(payload, &c); err != nil {
		return "", time.Time{}, errors.New("the JWT's payload is not JSON")
	}
	return c.JTI, time.Unix(c.Exp, 0), nil
}

// webdav does what a synchronisation does, reading the token for each request.
func webdav(file, folder string) error {
	const content = "written by a pod"
	steps := []struct {
		method, body string
		status       []int
	}{
		{http.MethodPut, content, []int{http.StatusCreated, http.StatusNoContent}},
		{http.MethodGet, "", []int{http.StatusOK}},
		{http.MethodDelete, "", []int{http.StatusNoContent}},
		{http.MethodGet, "", []int{http.StatusNotFound}},
	}
	client, err := trusting("/ca/ca.crt")
	if err != nil {
		return err
	}
	for _, step := range steps {
		token, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		request, err := http.NewRequest(step.method, strings.TrimSuffix(folder, "/")+"/consumer.txt", bytes.NewReader([]byte(step.body)))
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", "Bearer "+string(token))
		answer, err := client.Do(request)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil {
			return err
		}
		fmt.Println(step.method, answer.Status)
		if !slices.Contains(step.status, answer.StatusCode) {
			return fmt.Errorf("%s: %s, want %v", step.method, answer.Status, step.status)
		}
		if step.method == http.MethodGet && answer.StatusCode == http.StatusOK && string(body) != content {
			return errors.New("the file is not what was written")
		}
	}
	return nil
}

// trusting is a client that trusts the authorities of a file, where it holds any, and else the system's.
func trusting(file string) (*http.Client, error) {
	client := &http.Client{Timeout: 30 * time.Second}
	pem, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(pem) == 0 {
		return client, nil
	}
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	client.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	return client, nil
}
