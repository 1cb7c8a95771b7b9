//go:build integration

package observe

import (
	"bytes"
	"image/png"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// chromium opens an address in a browser without a window, and gives what args make it print.
func chromium(t *testing.T, address string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(t, "chromium", "chromium"), append([]string{
		"--headless", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--user-data-dir=" + t.TempDir(),
		"--no-sandbox", // It refuses to run as root otherwise, and sees our page only.
		"--window-size=1280,1110", "--timeout=20000",
	}, append(args, address)...)...)
	var log bytes.Buffer
	cmd.Stderr = &log
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("chromium: %v\n%s", err, &log)
	}
	return output
}

// TestStatusPageLooksRight takes the pictures of docs/, of the page that internal/statuspage tests, by light and by dark.
func TestStatusPageLooksRight(t *testing.T) {
	page, err := filepath.Abs("../../internal/statuspage/testdata/page.html")
	if err != nil {
		t.Fatal(err)
	}
	brightness := map[string]uint32{}
	for scheme, number := range map[string]string{"light": "1", "dark": "0"} {
		picture := filepath.Join(t.TempDir(), "page.png")
		chromium(t, "file://"+page, "--blink-settings=preferredColorScheme="+number, "--screenshot="+picture)
		raw, err := os.ReadFile(picture)
		if err != nil {
			t.Fatal(err)
		}
		drawn, err := png.Decode(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		brightness[scheme], _, _, _ = drawn.At(2, 2).RGBA()
		if *update {
			if err := os.WriteFile("../../docs/images/status-page-"+scheme+".png", raw, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if brightness["light"] < 0xe000 || brightness["dark"] > 0x2000 {
		t.Errorf("the ground of the page is %#x by light and %#x by dark", brightness["light"], brightness["dark"])
	}
}

// browses opens the page that the operator serves, through a proxy that shows a token, as a user would with a browser.
func browses(t *testing.T, c *cluster) {
	if status, _ := c.read("/status", ""); status != 401 {
		t.Errorf("/status answers %d to a stranger, want 401", status)
	}
	if status, _ := c.read("/status", c.prometheus); status != 403 {
		t.Errorf("/status answers %d to one who may read metrics only, want 403", status)
	}
	for token, want := range map[string]int{"": 401, c.prometheus: 403, c.person: 200} {
		if status, _ := c.read("/debug/pprof/heap", token); status != want {
			t.Errorf("/debug/pprof/heap answers %d, want %d", status, want)
		}
	}
	target, err := url.Parse(c.operator.MetricsURL)
	if err != nil {
		t.Fatal(err)
	}
	target.Path = ""
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Transport: anyCertificate.Transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header.Set("Authorization", "Bearer "+c.person)
		},
	})
	t.Cleanup(proxy.Close)
	shown := string(chromium(t, proxy.URL+"/status?namespace="+namespace, "--dump-dom"))
	for _, part := range []string{"<b>notes</b>", "service-account-notes", "<b>kc</b>", "serves", `<option selected="">apps</option>`, " left</span>"} {
		if !strings.Contains(shown, part) {
			t.Errorf("the page lacks %q:\n%s", part, shown)
		}
	}
	if strings.Contains(shown, "eyJ") {
		t.Error("the page has something that looks like a token")
	}
	if resp, err := http.Post(proxy.URL+"/status", "text/plain", nil); err != nil || resp.StatusCode/100 == 2 {
		t.Errorf("a POST is answered %v, %v", resp, err)
	}
}
