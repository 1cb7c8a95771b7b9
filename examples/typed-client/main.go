// Command typed-client applies a TokenGrant by Go code, server-side, and waits until its token is there:
//
//	go run ./examples/typed-client -namespace apps
//
// It needs three modules: the API, its apply configurations, and controller-runtime for the client.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	apply "github.com/tokengrant/tokengrant/applyconfiguration/api/v1alpha1"
)

func main() {
	namespace := flag.String("namespace", "apps", "namespace of the TokenGrant")
	timeout := flag.Duration("timeout", time.Minute, "how long to wait for the token; 0 does not wait")
	flag.Parse()
	if err := run(context.Background(), *namespace, *timeout); err != nil {
		fmt.Fprintln(os.Stderr, "typed-client:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, namespace string, timeout time.Duration) error {
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return err
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	// Only what is named here belongs to this program; other appliers keep their fields.
	grant := apply.TokenGrant("notes-sync", namespace).WithSpec(apply.TokenGrantSpec().
		WithIssuerRef(apply.IssuerRef().WithKind("ClusterTokenIssuer").WithName("keycloak")).
		WithServiceAccount(apply.ServiceAccount().WithClientID("notes-sync").
			WithKubernetesToken(apply.KubernetesToken().WithServiceAccountName("notes-sync"))).
		WithExchange(apply.Exchange().WithAudiences("nextcloud")).
		WithCheck(apply.Check().WithNextcloud(apply.NextcloudCheck().WithURL("https://cloud.example.com"))))
	if err := c.Apply(ctx, grant, client.FieldOwner("typed-client")); err != nil {
		return err
	}
	fmt.Printf("TokenGrant %s/notes-sync is applied\n", namespace)
	if timeout == 0 {
		return nil
	}
	key := client.ObjectKey{Namespace: namespace, Name: "notes-sync"}
	var got v1alpha1.TokenGrant
	return wait.PollUntilContextTimeout(ctx, time.Second, timeout, true, func(ctx context.Context) (bool, error) {
		if err := c.Get(ctx, key, &got); err != nil {
			return false, err
		}
		ready := meta.IsStatusConditionTrue(got.Status.Conditions, v1alpha1.ConditionReady)
		if ready {
			fmt.Printf("its token is in Secret %s\n", got.Status.SecretName)
		}
		return ready, nil
	})
}
