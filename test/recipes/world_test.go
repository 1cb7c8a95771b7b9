package recipes

import (
	"crypto/sha1"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/tokengrant/tokengrant/controllers/publish"
	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
	"github.com/tokengrant/tokengrant/nextcloud/nextcloudtest"
)

const (
	user     = "service-account-notes-sync"
	lifespan = 5 * time.Minute
)

// world is an issuer, a Nextcloud that trusts it, and a clock for both.
type world struct {
	t      *testing.T
	clock  *clocktesting.FakePassiveClock
	issuer *keycloaktest.Server
	cloud  *nextcloudtest.Server
	url    string

	mu     sync.Mutex
	before func(*http.Request) // called for every request to Nextcloud
	seen   []string            // Authorization headers
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, clock: clocktesting.NewFakePassiveClock(time.Now())}
	w.issuer = keycloaktest.NewServer(t, keycloaktest.Options{Now: w.clock.Now, Lifespan: lifespan})
	w.cloud = nextcloudtest.New(nextcloudtest.Options{
		Issuer: w.issuer.URL, Clock: w.clock, Users: []nextcloudtest.User{{ID: user}},
	})
	server := httptest.NewServer(http.HandlerFunc(w.serve))
	t.Cleanup(server.Close)
	w.url = server.URL
	for _, name := range []string{"Notes", "Backup"} {
		if err := w.cloud.AddFolder(user, name, ""); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func (w *world) serve(out http.ResponseWriter, in *http.Request) {
	w.mu.Lock()
	w.seen = append(w.seen, in.Header.Get("Authorization"))
	before := w.before
	w.mu.Unlock()
	if before != nil {
		before(in)
	}
	if in.Method == http.MethodPatch {
		w.hash(out, in)
		return
	}
	w.cloud.Handler().ServeHTTP(out, in)
}

// hash answers as Nextcloud's ChecksumUpdatePlugin (apps/dav), by which rclone checks what it has uploaded. It is not in
// the stand-in, where only what was recorded is.
func (w *world) hash(out http.ResponseWriter, in *http.Request) {
	file := httptest.NewRequest(http.MethodGet, in.URL.Path, nil)
	file.Header = in.Header
	read := httptest.NewRecorder()
	w.cloud.Handler().ServeHTTP(read, file)
	if read.Code != http.StatusOK || in.Header.Get("X-Recalculate-Hash") != "sha1" {
		http.Error(out, "cannot hash this", http.StatusBadRequest)
		return
	}
	out.Header().Set("OC-Checksum", fmt.Sprintf("SHA1:%x", sha1.Sum(read.Body.Bytes())))
	out.WriteHeader(http.StatusNoContent)
}

// open reads a page, with the address of this world's Nextcloud.
func (w *world) open(name string) page {
	w.t.Helper()
	return open(w.t, name, "https://cloud.example.com", w.url, "cloud.example.com", "127.0.0.1")
}

// onRequest sets what happens before Nextcloud sees a request.
func (w *world) onRequest(do func(*http.Request)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.before = do
}

// mint makes what the operator would publish for the page's grant, now.
func (w *world) mint(p page) publish.Content {
	w.t.Helper()
	now := w.clock.Now()
	if p.grant.Spec.AppPassword != nil {
		return publish.Content{IssuedAt: now, Username: user, Password: w.cloud.AddAppPassword(user, "tokengrant")}
	}
	claims := w.issuer.Claims(user, "notes-sync", "nextcloud")
	return publish.Content{
		AccessToken: sensitive.New(w.issuer.Sign(claims)), TokenType: "Bearer",
		IssuedAt: now, ExpiresAt: now.Add(lifespan), Scope: "profile email", Claims: claims,
	}
}

// volume is a Secret as the kubelet shows it to a pod: links to a directory that is replaced in one rename.
type volume struct {
	w    *world
	page page
	dir  string
	n    int
}

// mount renders the Secret of the page's grant. The path on the page leads to it.
func (w *world) mount(p page) *volume {
	w.t.Helper()
	v := &volume{w: w, page: p, dir: w.t.TempDir()}
	v.refresh()
	for key := range p.grant.SecretDelivery().Data {
		if err := os.Symlink(filepath.Join("..data", key), filepath.Join(v.dir, key)); err != nil {
			w.t.Fatal(err)
		}
	}
	return v
}

// refresh publishes a new token, and returns it.
func (v *volume) refresh() publish.Content {
	v.w.t.Helper()
	content := v.w.mint(v.page)
	data, err := publish.Render(v.page.templates(), content)
	if err != nil {
		v.w.t.Fatal(err)
	}
	v.n++
	next := "..generation" + strings.Repeat("'", v.n)
	if err := os.Mkdir(filepath.Join(v.dir, next), 0o700); err != nil {
		v.w.t.Fatal(err)
	}
	for key, value := range data {
		// The templates name files by the path that pods see.
		text := strings.ReplaceAll(string(value), "/var/run/tokengrant", v.dir)
		if err := os.WriteFile(filepath.Join(v.dir, next, key), []byte(text), 0o600); err != nil {
			v.w.t.Fatal(err)
		}
	}
	link := filepath.Join(v.dir, "..data_tmp")
	if err := os.Symlink(next, link); err != nil {
		v.w.t.Fatal(err)
	}
	if err := os.Rename(link, filepath.Join(v.dir, "..data")); err != nil {
		v.w.t.Fatal(err)
	}
	return content
}

// passTheExpiry replaces the token, and lets the one before expire.
func (v *volume) passTheExpiry() {
	v.w.clock.SetTime(v.w.clock.Now().Add(lifespan * 2 / 3))
	v.refresh()
	v.w.clock.SetTime(v.w.clock.Now().Add(lifespan / 2))
}

// answer is what a request with this header gets for who it is: 200 or 401.
func (w *world) answer(authorization string) int {
	w.t.Helper()
	in := httptest.NewRequest(http.MethodGet, "/ocs/v2.php/cloud/user?format=json", nil)
	in.Header.Set("Authorization", authorization)
	in.Header.Set("OCS-APIRequest", "true")
	out := httptest.NewRecorder()
	w.cloud.Handler().ServeHTTP(out, in)
	return out.Code
}

// put writes a file of the user, as another of the user's programs would.
func (w *world) put(path, content string) {
	w.t.Helper()
	in := httptest.NewRequest(http.MethodPut, "/remote.php/dav/files/"+user+"/"+path, strings.NewReader(content))
	in.Header.Set("Authorization", "Bearer "+w.cloud.AddAppPassword(user, "another program").Reveal())
	out := httptest.NewRecorder()
	w.cloud.Handler().ServeHTTP(out, in)
	if out.Code != http.StatusCreated {
		w.t.Fatalf("PUT %s: %d", path, out.Code)
	}
}
