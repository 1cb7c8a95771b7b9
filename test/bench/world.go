package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/hack/stack"
)

// world is what the scenarios share: an API server with etcd, an issuer, and the operator as it is shipped.
type world struct {
	plane      *stack.ControlPlane
	endpoint   *endpoint
	client     client.Client
	seen       *watcher
	kubeconfig string // the operator's
	flags      []string
	managers   []*stack.Operator
}

func newClient(config *rest.Config) (client.Client, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1 // The API server's own priority and fairness decides.
	return client.New(config, client.Options{Scheme: stack.Scheme()})
}

func newWorld(ctx context.Context, o options) (*world, error) {
	w := &world{flags: o.flags}
	if o.profile != "" {
		w.flags = append(w.flags, "--profiling")
	}
	if err := w.build(ctx); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

func (w *world) build(ctx context.Context) (err error) {
	if w.endpoint, err = startEndpoint(time.Hour); err != nil {
		return err
	}
	if w.plane, err = stack.StartControlPlane(ctx, stack.ControlPlaneOptions{CRDs: true}); err != nil {
		return err
	}
	if _, w.kubeconfig, err = w.plane.InstallOperator(ctx); err != nil {
		return err
	}
	if w.client, err = newClient(w.plane.Config); err != nil {
		return err
	}
	w.seen, err = watch(ctx, w.plane.Config)
	return err
}

func (w *world) Close() error {
	err := w.stopManagers()
	if w.plane != nil {
		err = errors.Join(err, w.plane.Close())
	}
	if w.endpoint != nil {
		w.endpoint.Close()
	}
	return err
}

// manager starts a replica with the defaults that are shipped.
func (w *world) manager(ctx context.Context) (*stack.Operator, error) {
	// The process is stopped, not cut off.
	m, err := stack.StartOperator(context.WithoutCancel(ctx), stack.OperatorOptions{Kubeconfig: w.kubeconfig, Flags: w.flags})
	if err == nil {
		w.managers = append(w.managers, m)
	}
	return m, err
}

func (w *world) stopManagers() error {
	var errs []error
	for _, m := range w.managers {
		errs = append(errs, m.Close())
	}
	w.managers = nil
	return errors.Join(errs...)
}

// namespace makes a namespace with an issuer of its own. Its limits are the default ones where rate is 0.
func (w *world) namespace(ctx context.Context, name, realm string, rate int32) error {
	secret := clientSecret
	if realm == "wrong" {
		secret = "another"
	}
	return w.namespaceAt(ctx, name, w.endpoint.issuer(realm), secret, rate)
}

func (w *world) namespaceAt(ctx context.Context, name, issuer, secret string, rate int32) error {
	limits := v1alpha1.Limits{}
	if rate > 0 {
		limits = v1alpha1.Limits{RequestsPerSecond: rate, Burst: rate, Concurrency: issuerConcurrency}
	}
	return w.create(ctx,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "client", Namespace: name}, StringData: map[string]string{"client-secret": secret}},
		&v1alpha1.TokenIssuer{
			ObjectMeta: metav1.ObjectMeta{Name: "issuer", Namespace: name},
			Spec:       v1alpha1.TokenIssuerSpec{URL: v1alpha1.HTTPURL(issuer), Limits: limits},
		},
	)
}

func (w *world) create(ctx context.Context, objects ...client.Object) error {
	for _, object := range objects {
		if err := w.client.Create(ctx, object); err != nil {
			return fmt.Errorf("creating %s: %w", object.GetName(), err)
		}
	}
	return nil
}

// remove deletes a namespace and waits until it is gone, so that the next scenario has the machine for itself.
func (w *world) remove(ctx context.Context, name string) error {
	if err := w.client.DeleteAllOf(ctx, &v1alpha1.TokenGrant{}, client.InNamespace(name)); err != nil {
		return err
	}
	if err := w.client.DeleteAllOf(ctx, &corev1.Secret{}, client.InNamespace(name)); err != nil {
		return err
	}
	if err := w.client.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
		return err
	}
	key := client.ObjectKey{Name: name}
	return settle(ctx, "the end of namespace "+name, 10*time.Minute, func() bool {
		return client.IgnoreNotFound(w.client.Get(ctx, key, &corev1.Namespace{})) == nil && w.client.Get(ctx, key, &corev1.Namespace{}) != nil
	})
}
