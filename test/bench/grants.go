package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

const (
	// grantsPerClient share a client, and so its subject token.
	grantsPerClient = 100
	// applyAtOnce is how many grants are applied at the same time, and the number of workers of the floor: the
	// manager's default.
	applyAtOnce = 32
	// issuerConcurrency is the default of an issuer's limits.
	issuerConcurrency = 16
)

func grantName(i int) string { return fmt.Sprintf("grant-%05d", i) }

func clientOf(i int) string { return fmt.Sprintf("worker-%d", i/grantsPerClient) }

// grant is what a platform team would write. nextcloud may be empty: no check.
func grant(namespace string, i int, nextcloud string) *v1alpha1.TokenGrant {
	return grantOf(namespace, i, nextcloud, clientOf(i))
}

func grantOf(namespace string, i int, nextcloud, clientID string) *v1alpha1.TokenGrant {
	g := &v1alpha1.TokenGrant{
		ObjectMeta: metav1.ObjectMeta{Name: grantName(i), Namespace: namespace},
		Spec: v1alpha1.TokenGrantSpec{
			IssuerRef:      v1alpha1.IssuerRef{Name: "issuer"},
			ServiceAccount: &v1alpha1.ServiceAccount{ClientID: clientID, ClientSecret: &v1alpha1.ClientSecret{SecretRef: v1alpha1.SecretKeyRef{Name: "client"}}},
			Exchange:       &v1alpha1.Exchange{Audiences: []v1alpha1.Audience{"nextcloud"}},
		},
	}
	if nextcloud != "" {
		g.Spec.Check = &v1alpha1.Check{Interval: &metav1.Duration{Duration: time.Hour}, Nextcloud: &v1alpha1.NextcloudCheck{URL: v1alpha1.HTTPURL(nextcloud)}}
	}
	return g
}

// apply creates n grants.
func apply(ctx context.Context, c client.Client, namespace string, n int, nextcloud string) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(applyAtOnce)
	for i := range n {
		group.Go(func() error { return c.Create(ctx, grant(namespace, i, nextcloud)) })
	}
	return group.Wait()
}
