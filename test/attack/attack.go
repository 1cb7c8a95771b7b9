// Package attack tries what somebody would who has taken over the operator: each attempt is one request with the
// operator's own credential.
package attack

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/hack/stack"
)

// Attacker holds the operator's credential, and knows where the victims are.
type Attacker struct {
	config *rest.Config
	client client.Client
	typed  kubernetes.Interface
	// operator is the operator's namespace, victim another one, which Prepare has filled.
	operator, victim string
	// issuer is the issuer of the API server's ServiceAccount tokens.
	issuer string
}

// New returns an Attacker who uses a credential against a namespace that Prepare has filled.
func New(config *rest.Config, operator, victim, issuer string) (*Attacker, error) {
	c, err := client.New(config, client.Options{Scheme: stack.Scheme()})
	if err != nil {
		return nil, err
	}
	typed, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return &Attacker{config: config, client: c, typed: typed, operator: operator, victim: victim, issuer: issuer}, nil
}

// Names of what Prepare makes.
const (
	foreignSecret = "database"
	ownSecret     = "notes-token"
	unannotated   = "backup"
	annotated     = "notes-sync"
	listing       = "reports"
)

// Prepare makes, as an administrator, what there is to attack in a namespace.
func Prepare(ctx context.Context, admin client.Client, victim string) error {
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: victim, Name: name} }
	account := func(name, annotation string) *corev1.ServiceAccount {
		a := &corev1.ServiceAccount{ObjectMeta: meta(name)}
		if annotation != "" {
			a.Annotations = map[string]string{v1alpha1.AllowTokenRequestAnnotation: annotation}
		}
		return a
	}
	own := &corev1.Secret{ObjectMeta: meta(ownSecret)}
	own.Labels = map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue}
	container := corev1.Container{Name: "app", Image: "app"}
	grant := &v1alpha1.TokenGrant{ObjectMeta: meta("notes")}
	grant.Spec.IssuerRef = v1alpha1.IssuerRef{Kind: "TokenIssuer", Name: "keycloak"}
	for _, object := range []client.Object{
		&corev1.Secret{ObjectMeta: meta(foreignSecret), StringData: map[string]string{"password": "x"}}, own,
		account(unannotated, ""), account(annotated, "true"), account(listing, "vault, https://sts.example.com"),
		&corev1.ConfigMap{ObjectMeta: meta("settings"), Data: map[string]string{"a": "b"}},
		&corev1.Pod{ObjectMeta: meta("app"), Spec: corev1.PodSpec{ServiceAccountName: unannotated, Containers: []corev1.Container{container}}},
		grant,
	} {
		if err := admin.Create(ctx, object); err != nil {
			return err
		}
	}
	return nil
}

// Attempt is one request. Succeeded says that the API server answered it.
type Attempt struct {
	Name string
	try  func(ctx context.Context, a *Attacker) error
}

// Result is what an attempt got: nil where it succeeded.
type Result struct {
	Name string
	Err  error
}

// Run makes all attempts, one after the other. Writes are tried with dryRun, which passes RBAC and admission.
func (a *Attacker) Run(ctx context.Context) []Result {
	var results []Result
	for _, attempt := range slices.Concat(secrets, tokens, workloads, privileges, own) {
		results = append(results, Result{attempt.Name, attempt.try(ctx, a)})
	}
	return results
}

func (a *Attacker) secret(name string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: a.victim, Name: name}}
}

// get reads an object of the victim's namespace.
func get(namespaced func(a *Attacker) client.Object) func(ctx context.Context, a *Attacker) error {
	return func(ctx context.Context, a *Attacker) error {
		o := namespaced(a)
		return a.client.Get(ctx, client.ObjectKeyFromObject(o), o)
	}
}

func create(object func(a *Attacker) client.Object) func(ctx context.Context, a *Attacker) error {
	return func(ctx context.Context, a *Attacker) error { return a.client.Create(ctx, object(a), client.DryRunAll) }
}

func remove(object func(a *Attacker) client.Object) func(ctx context.Context, a *Attacker) error {
	return func(ctx context.Context, a *Attacker) error { return a.client.Delete(ctx, object(a), client.DryRunAll) }
}

// patch sends a merge patch.
func patch(body string, object func(a *Attacker) client.Object) func(ctx context.Context, a *Attacker) error {
	return func(ctx context.Context, a *Attacker) error {
		return a.client.Patch(ctx, object(a), client.RawPatch(mergePatch, []byte(body)), client.DryRunAll)
	}
}

func list(objects client.ObjectList, where func(a *Attacker) string) func(ctx context.Context, a *Attacker) error {
	return func(ctx context.Context, a *Attacker) error {
		into, _ := objects.DeepCopyObject().(client.ObjectList)
		return a.client.List(ctx, into, client.InNamespace(where(a)))
	}
}

func everywhere(*Attacker) string { return "" }
