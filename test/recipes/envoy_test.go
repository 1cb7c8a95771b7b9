package recipes

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// envoySidecar runs the page's Envoy in front of a Nextcloud with TLS.
func envoySidecar(t *testing.T, w *world) {
	proxy, v := sidecar(t, w, "envoy")
	for _, which := range []string{"first", "next"} {
		if status, body := get(t, proxy, ""); status != 200 || !strings.Contains(body, `"id":"`+user+`"`) {
			t.Errorf("with the %s token: %d %s", which, status, body)
		}
		v.passTheExpiry()
		waitForToken(t, proxy)
	}
	if status, body := get(t, proxy, "Bearer of nothing"); status != 200 {
		t.Errorf("the program's own header was not replaced: %d %s", status, body)
	}
	w.clock.SetTime(w.clock.Now().Add(lifespan))
	if status, _ := get(t, proxy, ""); status != 401 {
		t.Errorf("with an expired token: %d", status)
	}
}

// mcpServer sends what nextcloud-mcp-server sends with the variables of its Deployment.
func mcpServer(t *testing.T, w *world) {
	proxy, v := sidecar(t, w, "nextcloud-mcp-server")
	env := map[string]string{}
	for _, e := range v.container("mcp").Env {
		env[e.Name] = e.Value
	}
	if env["NEXTCLOUD_HOST"] != "http://127.0.0.1:8081" || env["NEXTCLOUD_USERNAME"] != user {
		t.Errorf("the server asks %s as %s", env["NEXTCLOUD_HOST"], env["NEXTCLOUD_USERNAME"])
	}
	header := basic(env["NEXTCLOUD_USERNAME"], env["NEXTCLOUD_PASSWORD"])
	if got := w.answer(header); got != 401 {
		t.Errorf("without the sidecar its password gets %d", got)
	}
	if status, body := get(t, proxy, header); status != 200 || !strings.Contains(body, `"id":"`+user+`"`) {
		t.Errorf("%d %s", status, body)
	}
}

// sidecar starts the Envoy of a page's pod, with the configuration of docs/recipes/envoy.md. It returns where it listens.
func sidecar(t *testing.T, w *world, name string) (string, *volume) {
	t.Helper()
	backend := httptest.NewTLSServer(http.HandlerFunc(w.serve))
	t.Cleanup(backend.Close)
	listen := freePort(t)
	v := w.mount(open(t, name))
	envoy := v.container("nextcloud-proxy")
	authority := filepath.Join(t.TempDir(), "ca.crt")
	configuration := strings.NewReplacer(append([]string{
		"address: cloud.example.com, port_value: 443", "address: 127.0.0.1, port_value: " + strconv.Itoa(backend.Listener.Addr().(*net.TCPAddr).Port),
		"port_value: 8081", "port_value: " + listen,
		"/etc/ssl/certs/ca-certificates.crt", authority,
	}, envoy.paths...)...).Replace(open(t, "envoy").configs["nextcloud-proxy"].Data["envoy.yaml"])
	for path, content := range map[string][]byte{
		authority: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: backend.Certificate().Raw}),
		filepath.Join(envoy.dirs["/etc/envoy"], "envoy.yaml"): []byte(configuration),
	} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	cmd := envoy.command()
	cmd.Args = append(cmd.Args, "--use-dynamic-base-id", "--concurrency", "1") // beside the Envoys of others
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("Envoy says:\n%s", log.String())
		}
	})
	address := "127.0.0.1:" + listen
	eventually(t, "Envoy listens", func() bool {
		connection, err := net.Dial("tcp", address)
		if err == nil {
			connection.Close()
		}
		return err == nil
	})
	return "http://" + address, v
}

// waitForToken waits until Envoy sends the token that is in the volume now.
func waitForToken(t *testing.T, proxy string) {
	t.Helper()
	eventually(t, "Envoy takes up the next token", func() bool {
		status, _ := get(t, proxy, "")
		return status == 200
	})
}

func get(t *testing.T, proxy, authorization string) (int, string) {
	t.Helper()
	in, err := http.NewRequestWithContext(t.Context(), http.MethodGet, proxy+"/ocs/v2.php/cloud/user?format=json", nil)
	if err != nil {
		t.Fatal(err)
	}
	in.Header.Set("OCS-APIRequest", "true")
	if authorization != "" {
		in.Header.Set("Authorization", authorization)
	}
	out, err := http.DefaultClient.Do(in)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()
	body, err := io.ReadAll(out.Body)
	if err != nil {
		t.Fatal(err)
	}
	return out.StatusCode, string(body)
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 400 {
		if done() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("not within 20 s: %s", what)
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

func basic(name, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
}

func exitCode(err error) int {
	if exit, ok := err.(*exec.ExitError); ok { //nolint:errorlint // of a command that was run here
		return exit.ExitCode()
	}
	return 0
}
