package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/hack/stack"
	"github.com/tokengrant/tokengrant/keycloak/keycloaktest"
)

const namespace = "apps"

// world is an API server, an issuer and the operator, each in a process of its own but for the issuer.
type world struct {
	client.Client
	plane    *stack.ControlPlane
	issuer   *keycloaktest.Server
	operator *stack.Operator
	metrics  string
}

func newWorld(ctx context.Context, o options) (_ *world, err error) {
	w := &world{}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	if w.issuer, err = keycloaktest.Start(keycloaktest.Options{Lifespan: o.life}); err != nil {
		return nil, err
	}
	w.issuer.Client("worker", "worker-secret")
	if w.plane, err = stack.StartControlPlane(ctx, stack.ControlPlaneOptions{CRDs: true}); err != nil {
		return nil, err
	}
	_, kubeconfig, err := w.plane.InstallOperator(ctx)
	if err != nil {
		return nil, err
	}
	w.operator, err = stack.StartOperator(ctx, stack.OperatorOptions{Kubeconfig: kubeconfig, Flags: []string{"--metrics-secure=false"}})
	if err != nil {
		return nil, err
	}
	w.metrics = strings.Replace(w.operator.MetricsURL, "https://", "http://", 1)
	w.Client, err = client.New(w.plane.Config, client.Options{Scheme: stack.Scheme()})
	return w, err
}

func (w *world) close() error {
	var errs []error
	if w.operator != nil {
		errs = append(errs, w.operator.Close())
	}
	if w.plane != nil {
		errs = append(errs, w.plane.Close())
	}
	if w.issuer != nil {
		w.issuer.Close()
	}
	return errors.Join(errs...)
}

// grants makes n of them, of one client, and waits until all are Ready.
func (w *world) grants(ctx context.Context, n int) error {
	issuer := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "keycloak"}}
	issuer.Spec.URL = v1alpha1.HTTPURL(w.issuer.URL)
	issuer.Spec.Limits.RequestsPerSecond = 1000
	credential := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "worker"}, StringData: map[string]string{"client-secret": "worker-secret"},
	}
	objects := []client.Object{&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, issuer, credential}
	for i := range n {
		g := &v1alpha1.TokenGrant{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("grant-%04d", i)}}
		g.Spec.IssuerRef.Name = issuer.Name
		g.Spec.ServiceAccount = &v1alpha1.ServiceAccount{ClientID: "worker", ClientSecret: &v1alpha1.ClientSecret{SecretRef: v1alpha1.SecretKeyRef{Name: "worker"}}}
		g.Spec.Exchange = &v1alpha1.Exchange{Audiences: []v1alpha1.Audience{"nextcloud"}}
		objects = append(objects, g)
	}
	for _, o := range objects {
		if err := w.Create(ctx, o); err != nil {
			return err
		}
	}
	for deadline := time.Now().Add(2 * time.Minute); ; {
		held, _, err := w.published(ctx)
		if err != nil || held == n {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d grants have a token after two minutes; the end of the operator's log:\n%s", held, n, stack.Tail(w.operator.Logs()[0], 15))
		}
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
	}
}

// published counts the Secrets with a token, and those whose token has expired.
func (w *world) published(ctx context.Context) (held, expired int, err error) {
	var list corev1.SecretList
	ours := client.MatchingLabels{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue}
	if err := w.List(ctx, &list, client.InNamespace(namespace), ours); err != nil {
		return 0, 0, err
	}
	for _, s := range list.Items {
		held++
		if at, err := time.Parse(time.RFC3339, string(s.Data["expires_at"])); err != nil || time.Now().After(at) {
			expired++
		}
	}
	return held, expired, nil
}

// minted counts the tokens that were exchanged.
func (w *world) minted() int {
	return w.issuer.Count("urn:ietf:params:oauth:grant-type:token-exchange")
}

// watch takes a sample every few seconds, and counts how often a Secret held an expired token.
func (w *world) watch(ctx context.Context, duration time.Duration) (samples []sample, expired int, err error) {
	every := max(duration/300, time.Second)
	begin := time.Now()
	for time.Since(begin) < duration {
		if err := pause(ctx, every); err != nil {
			return nil, 0, err
		}
		values, err := w.sample(ctx)
		if err != nil {
			return nil, 0, err
		}
		_, dead, err := w.published(ctx)
		if err != nil {
			return nil, 0, err
		}
		expired += dead
		samples = append(samples, sample{time.Since(begin).Seconds(), values})
	}
	return samples, expired, nil
}

// sample reads the operator's metrics.
func (w *world) sample(ctx context.Context) (map[string]float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.metrics, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	values := map[string]float64{}
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		for _, m := range measures {
			if name == m.metric {
				if values[name], err = strconv.ParseFloat(value, 64); err != nil {
					return nil, fmt.Errorf("%s: %w", name, err)
				}
			}
		}
	}
	if len(values) != len(measures) {
		return nil, fmt.Errorf("%s has %d of %d metrics", w.metrics, len(values), len(measures))
	}
	return values, lines.Err()
}
