package attack

import (
	"context"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

const mergePatch = types.MergePatchType

// labelled is a Secret with the operator's label, as a type.
func labelled(name string, kind corev1.SecretType) func(a *Attacker) client.Object {
	return func(a *Attacker) client.Object {
		s := a.secret(name)
		s.Type, s.Labels = kind, map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue}
		s.Annotations = map[string]string{corev1.ServiceAccountNameKey: unannotated}
		return s
	}
}

// update writes a whole Secret over one that is there.
func update(name string, change func(s *corev1.Secret)) func(ctx context.Context, a *Attacker) error {
	return func(ctx context.Context, a *Attacker) error {
		s := a.secret(name)
		if err := a.client.Get(ctx, client.ObjectKeyFromObject(s), s); err != nil {
			return err
		}
		change(s)
		return a.client.Update(ctx, s, client.DryRunAll)
	}
}

func named(name string) func(a *Attacker) client.Object {
	return func(a *Attacker) client.Object { return a.secret(name) }
}

func ourLabel(s *corev1.Secret) {
	s.Labels = map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue}
}

var secrets = []Attempt{
	{"read a Secret", get(named(foreignSecret))},
	{"list the Secrets of the cluster", list(&corev1.SecretList{}, everywhere)},
	{"make a Secret with the operator's label", create(labelled("new", corev1.SecretTypeOpaque))},
	{"make a Secret without it", create(named("new"))},
	{"make a Secret that Kubernetes fills with a ServiceAccount's token", create(labelled("new", corev1.SecretTypeServiceAccountToken))},
	{"make a bootstrap token", create(labelled("bootstrap-token-abcdef", corev1.SecretTypeBootstrapToken))},
	{"change a Secret with the operator's label", update(ownSecret, func(s *corev1.Secret) { s.Data = map[string][]byte{"a": []byte("b")} })},
	{"take the label off it", update(ownSecret, func(s *corev1.Secret) { s.Labels = nil })},
	{"change a Secret of an application", update(foreignSecret, func(s *corev1.Secret) { s.Data = map[string][]byte{"a": []byte("b")} })},
	{"put the operator's label on it", update(foreignSecret, ourLabel)},
	{"put an owner reference on it, to a TokenGrant", update(foreignSecret, func(s *corev1.Secret) {
		ourLabel(s)
		s.OwnerReferences = []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: "TokenGrant", Name: "notes", UID: "1", Controller: new(true)}}
	})},
	{"patch it", patch(`{"data":{"a":"Yg=="}}`, named(foreignSecret))},
	{"delete it", remove(named(foreignSecret))},
	{"delete a Secret with the operator's label", remove(named(ownSecret))},
}

// request asks for a token; audience may use the API server's issuer.
func request(account string, audiences ...string) func(ctx context.Context, a *Attacker) error {
	return func(ctx context.Context, a *Attacker) error {
		wanted := &authenticationv1.TokenRequest{}
		for _, audience := range audiences {
			wanted.Spec.Audiences = append(wanted.Spec.Audiences, strings.ReplaceAll(audience, "ISSUER", a.issuer))
		}
		_, err := a.typed.CoreV1().ServiceAccounts(a.victim).CreateToken(ctx, account, wanted, metav1.CreateOptions{})
		return err
	}
}

var tokens = []Attempt{
	{"get a token of a ServiceAccount that is not annotated", request(unannotated, "https://id.example.com")},
	{"get one of it for the API server", request(unannotated)},
	{`get a token of one annotated "true", for an issuer`, request(annotated, "https://id.example.com")},
	{"get one of it for a well-known audience of the API server", request(annotated, "https://kubernetes.default.svc")},
	{"get one of it for no audience", request(annotated)},
	{"get one of it for an empty audience", request(annotated, "")},
	{"get one of it for two audiences", request(annotated, "https://id.example.com", "vault")},
	{"get one of it for an audience of the API server that `apiAudiences` names", request(annotated, "ISSUER")},
	{"get a token of one with a list, for a listed audience", request(listing, "https://sts.example.com")},
	{"get one of it for another audience", request(listing, "https://id.example.com")},
}

func pod(a *Attacker) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: a.victim, Name: "app"}}
}

func podObject(a *Attacker) client.Object { return pod(a) }

// subresource posts to a subresource of the victim's pod.
func subresource(name string) func(ctx context.Context, a *Attacker) error {
	return func(ctx context.Context, a *Attacker) error {
		return a.typed.CoreV1().RESTClient().Post().Namespace(a.victim).Resource("pods").Name("app").SubResource(name).Do(ctx).Error()
	}
}

var workloads = []Attempt{
	{"list pods", list(&corev1.PodList{}, everywhere)},
	{"start a pod", create(func(a *Attacker) client.Object {
		p := pod(a)
		p.Name, p.Spec.Containers = "new", []corev1.Container{{Name: "c", Image: "i"}}
		return p
	})},
	{"change a pod", patch(`{"spec":{"containers":[{"name":"app","image":"evil"}]}}`, podObject)},
	{"run a command in a pod", subresource("exec")},
	{"attach to a pod", subresource("attach")},
	{"evict a pod", subresource("eviction")},
	{"write a pod's status", func(ctx context.Context, a *Attacker) error {
		return a.client.Status().Patch(ctx, pod(a), client.RawPatch(mergePatch, []byte(`{"metadata":{"annotations":{"a":"b"}}}`)), &client.SubResourcePatchOptions{PatchOptions: client.PatchOptions{DryRun: []string{metav1.DryRunAll}}})
	}},
	{"read a ConfigMap", get(func(a *Attacker) client.Object {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: a.victim, Name: "settings"}}
	})},
	{"change a ConfigMap", patch(`{"data":{"a":"c"}}`, func(a *Attacker) client.Object {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: a.victim, Name: "settings"}}
	})},
	{"list nodes", list(&corev1.NodeList{}, everywhere)},
	{"patch a node", patch(`{"metadata":{"labels":{"a":"b"}}}`, func(*Attacker) client.Object { return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node"}} })},
	{"delete a Namespace", remove(func(a *Attacker) client.Object {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: a.victim}}
	})},
}

func roleBinding(a *Attacker) client.Object {
	return &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: a.operator, Name: "mine"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "mine"}},
	}
}

// impersonate asks who one is as somebody else.
func impersonate(as rest.ImpersonationConfig) func(ctx context.Context, a *Attacker) error {
	return func(ctx context.Context, a *Attacker) error {
		config := rest.CopyConfig(a.config)
		config.Impersonate = as
		c, err := kubernetes.NewForConfig(config)
		if err != nil {
			return err
		}
		_, err = c.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
		return err
	}
}

func crd(name string) func(*Attacker) client.Object {
	return func(*Attacker) client.Object {
		return &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: name}}
	}
}

func account(name string) func(a *Attacker) client.Object {
	return func(a *Attacker) client.Object {
		return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: a.victim, Name: name}}
	}
}

var privileges = []Attempt{
	{"impersonate an administrator", impersonate(rest.ImpersonationConfig{UserName: "admin", Groups: []string{"system:masters"}})},
	{"make a role", create(func(*Attacker) client.Object {
		return &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "mine"}, Rules: []rbacv1.PolicyRule{{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}}}}
	})},
	{"widen its own role", patch(`{"rules":[{"apiGroups":["*"],"resources":["*"],"verbs":["*"]}]}`, func(*Attacker) client.Object {
		return &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "tokengrant-manager"}}
	})},
	{"bind a role", create(roleBinding)},
	{"annotate a ServiceAccount", patch(`{"metadata":{"annotations":{"`+v1alpha1.AllowTokenRequestAnnotation+`":"true"}}}`, account(unannotated))},
	{"make a ServiceAccount", create(account("new"))},
	{"delete the policies that bound it", func(ctx context.Context, a *Attacker) error {
		return a.typed.AdmissionregistrationV1().ValidatingAdmissionPolicies().Delete(ctx, "tokengrant-operator-secrets", metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}})
	}},
	{"list admission webhooks", func(ctx context.Context, a *Attacker) error {
		_, err := a.typed.AdmissionregistrationV1().MutatingWebhookConfigurations().List(ctx, metav1.ListOptions{})
		return err
	}},
	{"delete a CRD", remove(crd("tokengrants.tokengrant.dev"))},
	{"approve a certificate", func(ctx context.Context, a *Attacker) error {
		return a.typed.CertificatesV1().RESTClient().Put().Resource("certificatesigningrequests").Name("mine").SubResource("approval").Do(ctx).Error()
	}},
}

var own = []Attempt{
	{"list TokenGrants", list(&v1alpha1.TokenGrantList{}, everywhere)},
	{"change a TokenGrant's spec", patch(`{"spec":{"suspend":true}}`, func(a *Attacker) client.Object {
		return &v1alpha1.TokenGrant{ObjectMeta: metav1.ObjectMeta{Namespace: a.victim, Name: "notes"}}
	})},
	{"make a TokenGrant", create(func(a *Attacker) client.Object {
		return &v1alpha1.TokenGrant{ObjectMeta: metav1.ObjectMeta{Namespace: a.victim, Name: "new"}}
	})},
	{"list ClusterTokenIssuers", list(&v1alpha1.ClusterTokenIssuerList{}, everywhere)},
	{"change a ClusterTokenIssuer", patch(`{"spec":{"url":"https://evil.example.com"}}`, func(*Attacker) client.Object {
		return &v1alpha1.ClusterTokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "keycloak"}}
	})},
	{"read the leases of the cluster", list(&coordinationv1.LeaseList{}, everywhere)},
	{"make a lease elsewhere", create(func(a *Attacker) client.Object {
		return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: a.victim, Name: "mine"}}
	})},
	{"make a lease in its own namespace", create(func(a *Attacker) client.Object {
		return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: a.operator, Name: "mine"}}
	})},
	{"list the labels of Namespaces", list(&corev1.NamespaceList{}, everywhere)},
	{"list ServiceAccounts", list(&corev1.ServiceAccountList{}, everywhere)},
	{"review a token", func(ctx context.Context, a *Attacker) error {
		return a.client.Create(ctx, &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: "x"}})
	}},
	{"read the logs of the API server", func(ctx context.Context, a *Attacker) error {
		return a.typed.Discovery().RESTClient().Get().AbsPath("/logs").Do(ctx).Error()
	}},
	{"list Events", list(&corev1.EventList{}, everywhere)},
}
