package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// form is a way to write what a refresh changes in one object.
type form struct {
	name  string
	write func(ctx context.Context, c client.Client, i int) error
}

// writes compares the forms in which the API server takes the two writes of a refresh. No manager runs.
func writes(ctx context.Context, w *world, o options, t *table) error {
	n := min(o.n, 1000)
	if err := w.namespace(ctx, "writes", "good", 0); err != nil {
		return err
	}
	if err := apply(ctx, w.client, "writes", n, w.endpoint.URL+"/nextcloud"); err != nil {
		return err
	}
	grants := make([]*v1alpha1.TokenGrant, n)
	secrets := make([]*corev1.Secret, n)
	for i := range n {
		grants[i] = grant("writes", i, "")
		if err := w.client.Get(ctx, client.ObjectKeyFromObject(grants[i]), grants[i]); err != nil {
			return err
		}
		secrets[i] = published(grants[i], strings.Repeat("t", 900))
		if err := w.client.Create(ctx, secrets[i]); err != nil {
			return err
		}
	}
	owner := client.FieldOwner("bench")
	for _, f := range []form{
		{"Secret: update", func(ctx context.Context, c client.Client, i int) error {
			secrets[i].Data["access_token"] = fmt.Appendf(nil, "%900d", time.Now().UnixNano())
			return c.Update(ctx, secrets[i])
		}},
		{"Secret: merge patch", func(ctx context.Context, c client.Client, i int) error {
			before := secrets[i].DeepCopy()
			secrets[i].Data["access_token"] = fmt.Appendf(nil, "%900d", time.Now().UnixNano())
			return c.Patch(ctx, secrets[i], client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
		}},
		{"Secret: server-side apply", func(ctx context.Context, c client.Client, i int) error {
			s := published(grants[i], fmt.Sprintf("%900d", time.Now().UnixNano()))
			s.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}
			return c.Patch(ctx, s, client.Apply, owner, client.ForceOwnership) //nolint:staticcheck // the typed form is the same request
		}},
		{"status: merge patch", func(ctx context.Context, c client.Client, i int) error {
			before := grants[i].DeepCopy()
			setStatus(grants[i])
			return c.Status().Patch(ctx, grants[i], client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
		}},
		{"status: update", func(ctx context.Context, c client.Client, i int) error {
			setStatus(grants[i])
			return c.Status().Update(ctx, grants[i])
		}},
		{"status: server-side apply", func(ctx context.Context, c client.Client, i int) error {
			setStatus(grants[i])
			g := &v1alpha1.TokenGrant{
				TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "TokenGrant"},
				ObjectMeta: metav1.ObjectMeta{Name: grants[i].Name, Namespace: grants[i].Namespace}, Status: grants[i].Status,
			}
			return c.Status().Patch(ctx, g, client.Apply, owner, client.ForceOwnership) //nolint:staticcheck // as above
		}},
	} {
		if err := w.compare(ctx, f, n, t); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return nil
}

func (w *world) compare(ctx context.Context, f form, n int, t *table) error {
	pid, err := w.apiServer()
	if err != nil {
		return err
	}
	before, err := processUsage(pid)
	if err != nil {
		return err
	}
	begin, spent := time.Now(), ownCPU()
	group, writing := errgroup.WithContext(ctx)
	group.SetLimit(issuerConcurrency)
	for i := range n {
		group.Go(func() error { return f.write(writing, w.client, i) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	took, own := time.Since(begin), ownCPU()-spent
	after, err := processUsage(pid)
	if err != nil {
		return err
	}
	each := time.Duration(n)
	t.add(f.name, fmt.Sprintf("%s each; CPU of the API server %s, of this client %s", short(took/each), short((after.cpu-before.cpu)/each), short(own/each)))
	return nil
}

// apiServer is its process id.
func (w *world) apiServer() (int, error) {
	for _, pid := range w.plane.PIDs() {
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err == nil && strings.HasPrefix(string(name), "kube-apiserver") {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("no kube-apiserver among %v", w.plane.PIDs())
}

// setStatus is what a refresh writes.
func setStatus(g *v1alpha1.TokenGrant) {
	now := metav1.Now()
	g.Status = v1alpha1.TokenGrantStatus{
		ObservedGeneration: g.Generation, SecretName: g.Name, RefreshAt: &now,
		LastAttempt: &v1alpha1.Attempt{Time: now, Reason: v1alpha1.ReasonPublished},
		Token:       &v1alpha1.TokenStatus{Subject: "s", Username: "u", Audiences: []string{"nextcloud"}, IssuedAt: now, ExpiresAt: now},
		Conditions: []metav1.Condition{{
			Type: "Ready", Status: metav1.ConditionTrue, Reason: "Published", Message: "The Secret holds a verified token.", LastTransitionTime: now,
		}},
	}
}

// published is a Secret as the operator writes it.
func published(g *v1alpha1.TokenGrant, token string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: g.Name, Namespace: g.Namespace, Annotations: map[string]string{"bench/record": strings.Repeat("r", 700)},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(g, v1alpha1.GroupVersion.WithKind("TokenGrant"))},
		},
		Data: map[string][]byte{"access_token": []byte(token), "token_type": []byte("Bearer"), "expires_at": []byte(time.Now().String())},
	}
}
