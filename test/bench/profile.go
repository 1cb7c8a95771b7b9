package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/hack/stack"
)

// profile writes what the manager did in the next seconds, and what it holds after them, into a folder.
func (w *world) profile(ctx context.Context, m *stack.Operator, dir string, during time.Duration) error {
	const reader = "profiles"
	if err := w.create(ctx,
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: reader, Namespace: stack.OperatorNamespace}},
		&rbacv1.ClusterRole{
			ObjectMeta: metav1.ObjectMeta{Name: reader},
			Rules:      []rbacv1.PolicyRule{{NonResourceURLs: []string{"/debug/pprof/*"}, Verbs: []string{"get"}}},
		},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: reader},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: reader},
			Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: reader, Namespace: stack.OperatorNamespace}},
		},
	); err != nil {
		return err
	}
	config, _, err := w.plane.ServiceAccount(ctx, stack.OperatorNamespace, reader)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	pages := strings.TrimSuffix(m.MetricsURL, "/metrics") + "/debug/pprof/"
	for file, page := range map[string]string{
		"cpu.pprof": fmt.Sprintf("profile?seconds=%d", int(during.Seconds())), "heap.pprof": "heap?gc=1", "goroutines.pprof": "goroutine",
	} {
		if err := download(ctx, pages+page, config.BearerToken, filepath.Join(dir, file)); err != nil {
			return err
		}
	}
	return nil
}

func download(ctx context.Context, from, token, to string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, from, http.NoBody)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	// The metrics endpoint makes its own certificate.
	anyone := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	response, err := anyone.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", from, response.Status)
	}
	file, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, response.Body)
	return errors.Join(err, file.Close())
}
