package logging

import (
	"bytes"
	"flag"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/tokengrant/tokengrant/test/canary"
)

// TestNoBodyIsLogged writes and reads a Secret while everything is logged that the flags can ask for.
func TestNoBodyIsLogged(t *testing.T) {
	const secret = `{"kind":"Secret","apiVersion":"v1","metadata":{"name":"s"},"data":{"access_token":"Y2FuYXJ5LTQ3MTEtY2FuYXJ5"}}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(secret))
	}))
	t.Cleanup(server.Close)
	for name, c := range map[string]struct {
		make  func(...zap.Opts) logr.Logger
		level string
		leaks bool
	}{
		"at the highest verbosity":                          {New, "10", false},
		"at the lowest at which client-go logs them":        {New, "8", false},
		"zap's own logger logs them, so the test sees them": {zap.New, "10", true},
		"and less of each, but some, at 8":                  {zap.New, "8", true},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			options, flags := zap.Options{}, flag.NewFlagSet("", flag.ContinueOnError)
			options.BindFlags(flags)
			if err := flags.Parse([]string{"--zap-devel", "--zap-log-level=" + c.level}); err != nil {
				t.Fatal(err)
			}
			log := c.make(zap.UseFlagOptions(&options), zap.WriteTo(&out))
			client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
			if err != nil {
				t.Fatal(err)
			}
			sent := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}, Data: map[string][]byte{"access_token": []byte("canary-4711-canary")}}
			got, err := client.CoreV1().Secrets("apps").Create(logr.NewContext(t.Context(), log), sent, metav1.CreateOptions{})
			if err != nil || string(got.Data["access_token"]) != "canary-4711-canary" {
				t.Fatalf("the Secret came back as %v, %v", got, err)
			}
			log.V(Deepest).Info("the deepest that is written")
			var w canary.Watch
			w.Plant("the token", "canary-4711-canary")
			w.Said("the log", out.String())
			if err := w.Found(); (err != nil) != c.leaks {
				t.Errorf("found: %v in\n%s", err, &out)
			}
			if !strings.Contains(out.String(), "the deepest that is written") {
				t.Errorf("verbosity %d is not written:\n%s", Deepest, &out)
			}
		})
	}
}
