package diagnose

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/cluster"
	"github.com/tokengrant/tokengrant/internal/command"
	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/keycloak"
)

// credential is how the client authenticates.
type credential struct {
	auth keycloak.ClientAuth
	// how names the method.
	how string
	// http presents the client's certificate; nil where it authenticates in another way.
	http *http.Client
	// cure makes the issuer accept it; nil for a secret.
	cure func(*keycloak.Error) script
	// secret, key and namespace are where a client secret comes from.
	secret, key, namespace string
}

// readCredential is the closed list of the ways to authenticate.
func (w *walk) readCredential(ctx context.Context) Step {
	namespace := w.issuer.namespace
	if w.grant != nil && w.grant.Spec.ServiceAccount != nil {
		namespace = w.grant.Namespace
	}
	switch a := w.account; {
	case a.ClientSecret != nil:
		return w.clientSecret(ctx, a.ClientSecret, namespace)
	case a.PrivateKeyJWT != nil:
		return w.privateKeyJWT(ctx, a.PrivateKeyJWT, namespace)
	case a.Certificate != nil:
		return w.tlsClient(ctx, a.Certificate, namespace)
	case a.KubernetesToken != nil:
		return w.kubernetesToken(ctx, a.KubernetesToken, namespace)
	}
	return broken(v1alpha1.ReasonInvalidSpec, nil, "client %q has no way to authenticate that this program knows", w.account.ClientID)
}

func (w *walk) clientSecret(ctx context.Context, way *v1alpha1.ClientSecret, namespace string) Step {
	c := credential{how: "client_secret_basic", secret: way.SecretRef.Name, key: way.SecretRef.Key, namespace: namespace}
	w.credential = c
	secret, missing := w.readKeyUpTo(ctx, sensitive.MaxClientSecret, "Secret", namespace, c.secret, c.key, w.cureSecret(true))
	if missing != nil {
		return *missing
	}
	w.credential.auth = keycloak.SecretBasic(secret)
	if way.Method == v1alpha1.ClientSecretPost {
		w.credential.how, w.credential.auth = "client_secret_post", keycloak.SecretPost(secret)
	}
	from := fmt.Sprintf("key %q of Secret %q in namespace %q", c.key, c.secret, namespace)
	if text := secret.Reveal(); strings.TrimSpace(text) != text {
		s := warn("%s begins or ends with white space, which is sent with it: is that part of the secret?", from)
		return s.with(w.cureSecret(false))
	}
	return ok("%s", from)
}

func (w *walk) privateKeyJWT(ctx context.Context, k *v1alpha1.PrivateKeyJWT, namespace string) Step {
	name, key := k.SecretRef.Name, k.SecretRef.Key
	create := script{apply(newSecret(name, namespace).Flag("--from-file=", key).Join("=key.pem"))}
	private, missing := w.readKey(ctx, namespace, name, key, create)
	if missing != nil {
		return *missing
	}
	o := keycloak.PrivateKeyJWTOptions{Key: private, Algorithm: k.Algorithm, KeyID: k.KeyID, Now: w.Now}
	auth, err := keycloak.PrivateKeyJWT(o)
	if err != nil {
		return invalidCredential(err, namespace, name, append(script{generateKey(o.Algorithm)}, create...))
	}
	w.credential = credential{auth: auth, how: "private_key_jwt"}
	if public, err := keycloak.PublicKeySet(o); err == nil {
		w.credential.cure = func(*keycloak.Error) script { return w.cureKey(public) }
	}
	return ok("the private key in key %q of Secret %q in namespace %q", key, name, namespace)
}

// invalidCredential says in which Secret a key or certificate stands that cannot be used.
func invalidCredential(err error, namespace, name string, cure script) Step {
	known, is := errors.AsType[*keycloak.Error](err)
	if !is {
		return unknown("Secret %q in namespace %q cannot be used", name, namespace)
	}
	return broken(known.Reason, cure, "%s: Secret %q in namespace %q: %s: %s", known.Reason, name, namespace, known.Description, known.Hint)
}

// generateKey makes a key for an algorithm.
func generateKey(algorithm string) command.Command {
	if algorithm == "ES256" {
		return command.New("openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem")
	}
	return command.New("openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out key.pem")
}

func (w *walk) kubernetesToken(ctx context.Context, k *v1alpha1.KubernetesToken, namespace string) Step {
	first, missing := w.requestToken(ctx, k, namespace)
	if missing != nil {
		return *missing
	}
	// A fresh one for each request: issuers may take an assertion once only.
	get := func(ctx context.Context) (sensitive.String, error) {
		token, missing := w.requestToken(ctx, k, namespace)
		if missing != nil {
			return token, errors.New(missing.Message)
		}
		return token, nil
	}
	w.credential = credential{how: "a token of a Kubernetes ServiceAccount", auth: keycloak.Assertion(get)}
	if claims, err := keycloak.UnverifiedClaims(first); err == nil {
		w.credential.cure = func(*keycloak.Error) script { return w.cureFederated(claims) }
	}
	return ok("a token of ServiceAccount %q in namespace %q, asked for now", k.ServiceAccountName, namespace)
}

// requestToken asks the API server for a token of a ServiceAccount, as the operator does and with its limits: only for
// an audience that the ServiceAccount's annotation allows.
func (w *walk) requestToken(ctx context.Context, k *v1alpha1.KubernetesToken, namespace string) (sensitive.String, *Step) {
	issuerURL := string(w.issuer.spec.URL)
	audience := cmp.Or(k.Audience, issuerURL)
	var account corev1.ServiceAccount
	if err := w.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: k.ServiceAccountName}, &account); err != nil {
		create := script{command.New("kubectl create serviceaccount").Arg(k.ServiceAccountName).Flag("-n", namespace)}
		annotate := cureAnnotation(k, namespace, w.APIAudiences.AllowTokenRequest("", issuerURL, audience))
		s := unreadable(err, v1alpha1.ReasonCredentialMissing, "ServiceAccount", namespace, k.ServiceAccountName, append(create, annotate...))
		return sensitive.String{}, &s
	}
	if err := w.APIAudiences.AllowTokenRequest(account.Annotations[v1alpha1.AllowTokenRequestAnnotation], issuerURL, audience); err != nil {
		s := broken(v1alpha1.ReasonNotAllowed, cureAnnotation(k, namespace, err), "NotAllowed: ServiceAccount %q: %s", account.Name, err)
		return sensitive.String{}, &s
	}
	request := &authenticationv1.TokenRequest{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: account.Name},
		Spec: authenticationv1.TokenRequestSpec{
			Audiences: []string{audience}, ExpirationSeconds: new(k.ExpirationSeconds),
		},
	}
	if err := w.Client.SubResource("token").Create(ctx, &account, request); err != nil {
		s := unknown("the API server gives you no token of ServiceAccount %q in namespace %q (%s), so nothing behind it can be tried: let somebody run this who may ask for one",
			account.Name, namespace, apierrors.ReasonForError(err))
		s = s.with(script{command.New("kubectl auth can-i create").Flag("serviceaccounts/", account.Name).Words("--subresource=token").Flag("-n", namespace)})
		return sensitive.String{}, &s
	}
	return sensitive.New(request.Status.Token), nil
}

// cureAnnotation allows the refused audience where an annotation can.
func cureAnnotation(k *v1alpha1.KubernetesToken, namespace string, err error) script {
	refused, is := errors.AsType[*cluster.RefusedAudience](err)
	if !is || refused.Annotation == "" {
		return nil
	}
	return script{command.New("kubectl annotate serviceaccount").Arg(k.ServiceAccountName).Flag("-n", namespace).
		Words("--overwrite").Flag(v1alpha1.AllowTokenRequestAnnotation+"=", refused.Annotation)}
}
