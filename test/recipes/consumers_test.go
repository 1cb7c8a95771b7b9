package recipes

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joho/godotenv"
)

func curlConfiguration(t *testing.T, w *world) {
	v := w.mount(w.open("curl"))
	curl := v.container("curl")
	if got := curl.run(); !strings.Contains(got, `"id":"`+user+`"`) {
		t.Errorf("Nextcloud says %s", got)
	}
	v.passTheExpiry()
	if got := curl.run(); !strings.Contains(got, `"id":"`+user+`"`) {
		t.Errorf("with the next token Nextcloud says %s", got)
	}
	w.clock.SetTime(w.clock.Now().Add(lifespan))
	if got, err := curl.try(); exitCode(err) != 22 || !strings.Contains(got, "not logged in") {
		t.Errorf("with an expired token curl ends with %v and says %s", err, got)
	}
}

func authorizationHeader(t *testing.T, w *world) {
	w.put("Notes/todo.txt", "buy bread")
	p := w.open("authorization-header")
	v := w.mount(p)
	python := exec.Command(program(t, "python3"), "-c", strings.ReplaceAll(p.fenced(t, "python"), "/var/run/tokengrant", v.dir)+`
import sys
for url in sys.stdin:
    print(get(url.strip()).read().decode(), flush=True)
`)
	// One process reads the header anew for each line that it gets.
	lines := startTalking(t, python)
	for _, which := range []string{"first", "next"} {
		if got := v.container("curl").run(); got != "buy bread" {
			t.Errorf("with the %s token curl gets %q", which, got)
		}
		if got := lines(w.url + "/remote.php/dav/files/" + user + "/Notes/todo.txt"); got != "buy bread" {
			t.Errorf("with the %s token Python gets %q", which, got)
		}
		v.passTheExpiry()
	}
}

// startTalking starts a program that answers each line with one.
func startTalking(t *testing.T, cmd *exec.Cmd) func(string) string {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	answers := bufio.NewScanner(out)
	return func(line string) string {
		fmt.Fprintln(in, line)
		answers.Scan()
		return answers.Text()
	}
}

func dotenv(t *testing.T, w *world) {
	w.put("Notes/todo.txt", "buy bread\n")
	w.put("Notes/done.txt", "bake cake\n")
	v := w.mount(w.open("dotenv"))
	content := v.refresh()
	want := map[string]string{
		"NEXTCLOUD_URL": w.url, "NEXTCLOUD_USER": user, "NEXTCLOUD_TOKEN": content.AccessToken.Reveal(),
		"NEXTCLOUD_TOKEN_EXPIRES": strconv.FormatInt(content.ExpiresAt.Unix(), 10),
	}
	got, err := godotenv.Read(filepath.Join(v.dir, "env"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("a dotenv reader (-want +got):\n%s", diff)
	}
	w.onRequest(func(*http.Request) {
		w.onRequest(nil)
		v.refresh() // while the script is busy with its first file
	})
	if got := v.container("script").run(); got != "buy bread\nbake cake\n" {
		t.Errorf("the script prints %q", got)
	}
	if len(w.seen) != 2 || w.seen[0] == w.seen[1] {
		t.Errorf("the script did not read the file again: %d requests", len(w.seen))
	}
}

func netrc(t *testing.T, w *world) {
	v := w.mount(w.open("netrc"))
	if got := v.container("curl").run(); !strings.Contains(got, `"id":"`+user+`"`) {
		t.Errorf("Nextcloud says %s", got)
	}
	content := v.refresh()
	script := `import netrc, sys; print(netrc.netrc(sys.argv[1]).authenticators(sys.argv[2]))`
	output, err := exec.CommandContext(t.Context(), program(t, "python3"), "-c", script, filepath.Join(v.dir, "netrc"), "127.0.0.1").CombinedOutput()
	want := "('" + user + "', '', '" + content.Password.Reveal() + "')\n"
	if python := strings.Replace(string(output), ", None, ", ", '', ", 1); err != nil || python != want {
		t.Errorf("Python reads %v\n%s", err, output)
	}
	// Why this page is about app passwords: a token is no password.
	token := w.mint(w.open("curl")).AccessToken.Reveal()
	if basic, bearer := w.answer(basic(user, token)), w.answer("Bearer "+token); basic != 401 || bearer != 200 {
		t.Errorf("a token as a password gets %d, as a bearer token %d", basic, bearer)
	}
}

func rcloneConf(t *testing.T, w *world) {
	w.put("Notes/todo.txt", "buy bread")
	w.put("Notes/zebra.txt", "stripes")
	v := w.mount(w.open("rclone"))
	rclone := v.container("rclone")
	w.onRequest(func(in *http.Request) {
		if in.Method == "GET" && strings.HasSuffix(in.URL.Path, "zebra.txt") {
			w.onRequest(nil)
			v.passTheExpiry()
		}
	})
	rclone.Args = append(rclone.Args, "--transfers=1", "--checkers=1", "--order-by=name")
	rclone.run()
	expectFiles(t, rclone.dirs["/data"], map[string]string{"todo.txt": "buy bread", "zebra.txt": "stripes"})
	if w.before != nil || w.answer(w.seen[0]) != 401 {
		t.Error("the first token was still good: this shows nothing")
	}
}

func cronJobBackup(t *testing.T, w *world) {
	v := w.mount(w.open("cronjob-backup"))
	rclone := v.container("rclone")
	for _, name := range []string{"a.txt", "b.txt", "folder/c.txt"} {
		path := filepath.Join(rclone.dirs["/data"], name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	puts := 0
	w.onRequest(func(in *http.Request) {
		if in.Method == "PUT" {
			puts++
			if puts == 2 {
				v.passTheExpiry() // this request has the token that has just expired
			}
		}
	})
	rclone.run()
	w.onRequest(nil)
	if w.answer(w.seen[0]) != 401 || puts < 4 {
		t.Errorf("%d uploads, one of them refused: this shows nothing", puts)
	}
	today := time.Now().UTC().Format(time.DateOnly)
	list := exec.CommandContext(t.Context(), program(t, "rclone"), "--config="+filepath.Join(v.dir, "rclone.conf"), "lsf", "-R", "--files-only", "nextcloud:Backup/"+today)
	output, err := list.CombinedOutput()
	if got := strings.Fields(string(output)); err != nil || !cmp.Equal(got, []string{"a.txt", "b.txt", "folder/c.txt"}) {
		t.Errorf("the backup of %s has %v: %v", today, got, err)
	}
}

func expectFiles(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	got := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		got[e.Name()] = string(content)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}
