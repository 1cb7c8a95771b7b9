package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/tokengrant/tokengrant/hack/stack"
	"github.com/tokengrant/tokengrant/keycloak/realm"
	"github.com/tokengrant/tokengrant/test/canary"
)

// The grant of config/samples that the demo follows. Its client's tokens live 30 s.
const (
	grantNamespace = "apps"
	grantName      = "notes-sync"
	secretName     = "notes-sync-token"
	tokenKey       = "access_token"
)

// walk shows what the operator does for one grant, from apply to refresh.
type walk struct {
	*setup
	out     io.Writer
	secrets secretGetter
}

type secretGetter interface {
	Get(ctx context.Context, name string, options metav1.GetOptions) (*corev1.Secret, error)
}

func (w *walk) run(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(w.plane.Config)
	if err != nil {
		return err
	}
	w.secrets = client.CoreV1().Secrets(grantNamespace)
	var leaks canary.Watch
	stop, err := w.follow(ctx, &leaks)
	if err != nil {
		return err
	}
	defer stop()
	w.out = io.MultiWriter(w.out, &leaks)
	for _, step := range []func(context.Context) error{w.apply, w.await, w.showSecret, w.askNextcloud, w.awaitRefresh} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	stop()
	return w.searchLeaks(ctx, &leaks)
}

// apply sends config/samples with the URLs of this stack, and the grant that needs what only this stack has set up.
func (w *walk) apply(ctx context.Context) error {
	samples, err := w.plane.Kubectl(ctx, nil, "kustomize", "config/samples")
	if err != nil {
		return err
	}
	secretless, err := os.ReadFile(filepath.Join(w.root, "config", "samples", "tokengrant_secretless.yaml"))
	if err != nil {
		return err
	}
	located, err := relocate(samples+"\n---\n"+string(secretless), w.keycloak.Issuer(realm.Name), w.nextcloud.URL)
	if err != nil {
		return fmt.Errorf("config/samples: %w", err)
	}
	stack.Sayf(ctx, "applying config/samples, with the issuer %s and the Nextcloud %s", w.keycloak.Issuer(realm.Name), w.nextcloud.URL)
	applied, err := w.plane.Kubectl(ctx, bytes.NewReader(located), "apply", "-f", "-")
	w.show(applied)
	return err
}

func (w *walk) await(ctx context.Context) error {
	_, err := w.plane.Kubectl(ctx, nil, "wait", "--namespace", grantNamespace, "--for=condition=Ready", "--timeout=60s", "tokengrants", "--all")
	if err != nil {
		return err
	}
	stack.Sayf(ctx, "the grants are Ready")
	table, err := w.plane.Kubectl(ctx, nil, "get", "tokengrants", "--namespace", grantNamespace)
	w.show(table)
	return err
}

func (w *walk) showSecret(ctx context.Context) error {
	secret, err := w.secrets.Get(ctx, secretName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	stack.Sayf(ctx, "Secret %s/%s holds", grantNamespace, secretName)
	var lines strings.Builder
	for _, key := range slices.Sorted(maps.Keys(secret.Data)) {
		value := string(secret.Data[key])
		if key == tokenKey {
			value = shorten(value)
		}
		fmt.Fprintf(&lines, "%-14s %s\n", key, value)
	}
	w.show(lines.String())
	claims, err := decode(string(secret.Data[tokenKey]))
	if err != nil {
		return err
	}
	stack.Sayf(ctx, "the token says")
	w.show(claims.indented)
	return nil
}

// askNextcloud asks the question the operator asked: whose token is this?
func (w *walk) askNextcloud(ctx context.Context) error {
	secret, err := w.secrets.Get(ctx, secretName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	const path = "/ocs/v2.php/cloud/user?format=json"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.nextcloud.URL+path, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+string(secret.Data[tokenKey]))
	request.Header.Set("OCS-APIRequest", "true")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	stack.Sayf(ctx, "Nextcloud answers GET %s with %s", path, response.Status)
	w.show(strings.TrimSpace(string(body)) + "\n")
	if response.StatusCode != http.StatusOK {
		return errors.New("the token was not accepted")
	}
	return nil
}

func (w *walk) awaitRefresh(ctx context.Context) error {
	before, err := w.held(ctx)
	if err != nil {
		return err
	}
	stack.Sayf(ctx, "waiting for the refresh of token %s, which lives until %s", before.JTI, before.expiry().Format(time.TimeOnly))
	after := before
	err = wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, 2*time.Minute, true, func(ctx context.Context) (bool, error) {
		after, err = w.held(ctx)
		return err == nil && after.JTI != before.JTI, err
	})
	if err != nil {
		return fmt.Errorf("the token was not refreshed: %w", err)
	}
	left := time.Until(before.expiry()).Round(100 * time.Millisecond)
	if left <= 0 {
		return fmt.Errorf("the token was refreshed %s after its expiry", -left)
	}
	stack.Sayf(ctx, "refreshed, with %s of the old token's life left", left)
	w.show(fmt.Sprintf("old  %s  expires %s\nnew  %s  expires %s\n",
		before.JTI, before.expiry().Format(time.RFC3339), after.JTI, after.expiry().Format(time.RFC3339)))
	return nil
}

// held decodes the token that the Secret holds now.
func (w *walk) held(ctx context.Context) (claims, error) {
	secret, err := w.secrets.Get(ctx, secretName, metav1.GetOptions{})
	if err != nil {
		return claims{}, err
	}
	return decode(string(secret.Data[tokenKey]))
}

// show prints a command's output, set off from the progress lines.
func (w *walk) show(text string) {
	for line := range strings.Lines(text) {
		fmt.Fprint(w.out, "           ", line)
	}
}
