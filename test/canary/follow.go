package canary

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// public are keys of Secrets whose values are no secrets, and stand in statuses and templates.
var public = []string{"token_type", "expires_at", "issued_at", "scope", "username", "namespace", "ca.crt", "tls.crt"}

// Follow reads what there is of a cluster, and each change, until the returned function is called: the values in all
// Secrets are planted, and what others may read is kept for the search: TokenGrants and issuers, events, Pods, and of
// the Secrets that the operator writes the metadata. So a token is looked for that was in a Secret for a second.
func (w *Watch) Follow(ctx context.Context, c client.WithWatch) (stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	stop = func() {
		cancel()
		running.Wait()
	}
	for _, list := range []client.ObjectList{
		&corev1.SecretList{}, &v1alpha1.TokenGrantList{}, &v1alpha1.TokenIssuerList{}, &v1alpha1.ClusterTokenIssuerList{},
		&eventsv1.EventList{}, &corev1.PodList{},
	} {
		changes, err := c.Watch(ctx, list)
		if err != nil {
			stop()
			return nil, fmt.Errorf("watching %T: %w", list, err)
		}
		running.Go(func() {
			for err == nil {
				w.hear(changes)
				if ctx.Err() != nil {
					return
				}
				changes, err = c.Watch(ctx, list) // The API server ends each watch after a while.
			}
			w.fail(fmt.Errorf("watching %T: %w", list, err))
		})
	}
	return stop, nil
}

func (w *Watch) hear(changes watch.Interface) {
	defer changes.Stop()
	for change := range changes.ResultChan() {
		switch o := change.Object.(type) {
		case *corev1.Secret:
			w.PlantSecret(o)
			// `kubectl apply` writes what it was given into an annotation: of the Secrets that users write.
			if o.Labels[v1alpha1.ManagedByLabel] == v1alpha1.ManagedByValue {
				w.keep("the metadata of Secret "+o.Name, o.ObjectMeta)
			}
		case *v1alpha1.TokenGrant:
			w.learn(func(all *owners) { all.grant(o) })
			w.keep("TokenGrant "+o.Name, o)
		case *v1alpha1.TokenIssuer:
			w.learn(func(all *owners) { all.issuer(o.Namespace+"/"+o.Name, o.Namespace, &o.Spec) })
			w.keep("TokenIssuer "+o.Name, o)
		case *v1alpha1.ClusterTokenIssuer:
			w.learn(func(all *owners) { all.issuer("/"+o.Name, "*", &o.Spec.TokenIssuerSpec) })
			w.keep("ClusterTokenIssuer "+o.Name, o)
		case client.Object:
			w.keep(fmt.Sprintf("%T %s", o, o.GetName()), o)
		}
	}
}

// PlantSecret plants the values in a Secret.
func (w *Watch) PlantSecret(s *corev1.Secret) {
	for key, value := range s.Data {
		if !slices.Contains(public, key) {
			w.plant(fmt.Sprintf("%q of Secret %s/%s", key, s.Namespace, s.Name), string(value), source{secret: s.Namespace + "/" + s.Name})
		}
	}
}

func (w *Watch) learn(f func(*owners)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.owners == nil {
		w.owners = newOwners()
	}
	f(w.owners)
}

func (w *Watch) keep(where string, object any) {
	text, err := json.Marshal(object)
	if err != nil {
		w.fail(err)
	}
	w.Said(where, string(text))
}
