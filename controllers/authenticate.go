package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/issuer"
	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/keycloak"
)

// +kubebuilder:rbac:groups="",resources=serviceaccounts,verbs=list;watch
// +kubebuilder:rbac:groups="",resources=serviceaccounts/token,verbs=create

// credential is a way to authenticate a client, and what changes whenever it does.
type credential struct {
	auth    keycloak.ClientAuth
	version string
	// certificate is presented with the connection; nil with every way but tls.
	certificate *issuer.Certificate
}

// assertion is a JWT of another issuer, asked for when it is needed, and what changes whenever its source does.
type assertion struct {
	get     func(ctx context.Context) (sensitive.String, error)
	version string
}

// gatherCredential reads all that the client authenticates with: what is minted must be ended in the same way.
func (r *GrantReconciler) gatherCredential(ctx context.Context, g *observation) error {
	account, namespace, err := g.account()
	if err != nil {
		return err
	}
	c, err := r.authenticate(ctx, g, account, namespace)
	if err != nil {
		return err
	}
	g.clientID, g.auth, g.certificate, g.inputs.Credential = account.ClientID, c.auth, c.certificate, c.version
	return nil
}

// authenticate is the closed list of the ways in which a client can authenticate. What it refers to is in one namespace.
func (r *GrantReconciler) authenticate(ctx context.Context, g *observation, account *v1alpha1.ServiceAccount, namespace string) (credential, error) {
	switch {
	case account.ClientSecret != nil:
		return r.clientSecret(ctx, account.ClientSecret, namespace)
	case account.PrivateKeyJWT != nil:
		return r.privateKeyJWT(ctx, account.PrivateKeyJWT, namespace)
	case account.Certificate != nil:
		return r.tlsClient(ctx, account.Certificate, namespace)
	case account.KubernetesToken != nil:
		a, err := r.kubernetesToken(ctx, g, account.KubernetesToken, namespace)
		if err != nil {
			return credential{}, err
		}
		return credential{auth: keycloak.Assertion(a.get), version: a.version}, nil
	default:
		return credential{}, failf(v1alpha1.ReasonInvalidSpec, "the serviceAccount %q has no way to authenticate: set clientSecret, privateKeyJWT, certificate or kubernetesToken", account.ClientID)
	}
}

func (r *GrantReconciler) clientSecret(ctx context.Context, way *v1alpha1.ClientSecret, namespace string) (credential, error) {
	secret, err := r.Issuers.References.readUpTo(ctx, reference{kindSecret, types.NamespacedName{Namespace: namespace, Name: way.SecretRef.Name}, way.SecretRef.Key}, sensitive.MaxClientSecret)
	if err != nil {
		return credential{}, err
	}
	if way.Method == v1alpha1.ClientSecretPost {
		return credential{auth: keycloak.SecretPost(secret.value), version: secret.version + "/Post"}, nil
	}
	return credential{auth: keycloak.SecretBasic(secret.value), version: secret.version + "/Basic"}, nil
}

func (r *GrantReconciler) privateKeyJWT(ctx context.Context, k *v1alpha1.PrivateKeyJWT, namespace string) (credential, error) {
	key, err := r.Issuers.References.read(ctx, reference{kindSecret, types.NamespacedName{Namespace: namespace, Name: k.SecretRef.Name}, k.SecretRef.Key})
	if err != nil {
		return credential{}, err
	}
	auth, err := keycloak.PrivateKeyJWT(keycloak.PrivateKeyJWTOptions{Key: key.value, Algorithm: k.Algorithm, KeyID: k.KeyID, Now: r.Clock.Now})
	if err != nil {
		return credential{}, invalidCredential(k.SecretRef.Name, err)
	}
	return credential{auth: auth, version: fmt.Sprintf("%s/%s/%s", key.version, k.Algorithm, k.KeyID)}, nil
}

// tlsClient reads a certificate and its key, which must be of one version of their Secret.
func (r *GrantReconciler) tlsClient(ctx context.Context, t *v1alpha1.ClientCertificate, namespace string) (credential, error) {
	secret := types.NamespacedName{Namespace: namespace, Name: t.SecretRef.Name}
	certificate, err := r.Issuers.References.read(ctx, reference{kindSecret, secret, corev1.TLSCertKey})
	if err != nil {
		return credential{}, err
	}
	key, err := r.Issuers.References.read(ctx, reference{kindSecret, secret, corev1.TLSPrivateKeyKey})
	if err != nil {
		return credential{}, err
	}
	if key.version != certificate.version {
		return credential{}, fmt.Errorf("reading Secret %s: it changed meanwhile", secret) // The workqueue's backoff repeats it.
	}
	pair, err := keycloak.ClientCertificate(certificate.value.Reveal(), key.value, r.Clock.Now())
	if err != nil {
		return credential{}, invalidCredential(secret.Name, err)
	}
	return credential{keycloak.TLS(), key.version, issuer.NewCertificate(secret.String(), pair)}, nil
}

// invalidCredential says in which Secret a key or certificate stands that cannot be used.
func invalidCredential(secret string, err error) error {
	if k, ok := errors.AsType[*keycloak.Error](err); ok {
		return failf(k.Reason, "Secret %q: %s: %s", secret, k.Description, k.Hint)
	}
	return err
}

// kubernetesToken asks the API server for a token whenever a client assertion is needed. The operator may ask for tokens of
// all ServiceAccounts, its users may not: the ServiceAccount's annotation must allow the audience.
func (r *GrantReconciler) kubernetesToken(ctx context.Context, g *observation, k *v1alpha1.KubernetesToken, namespace string) (assertion, error) {
	key := types.NamespacedName{Namespace: namespace, Name: k.ServiceAccountName}
	account, err := r.Issuers.References.meta(ctx, kindServiceAccount, key)
	if err != nil {
		return assertion{}, err
	}
	if account == nil {
		return assertion{}, failf(v1alpha1.ReasonCredentialMissing, "ServiceAccount %q not found in namespace %q: create it with the annotation %s: \"true\"",
			key.Name, namespace, v1alpha1.AllowTokenRequestAnnotation)
	}
	issuerURL := string(g.issuer.spec.URL)
	audience := cmp.Or(k.Audience, issuerURL)
	if err := r.APIAudiences.AllowTokenRequest(account.Annotations[v1alpha1.AllowTokenRequestAnnotation], issuerURL, audience); err != nil {
		return assertion{}, failf(v1alpha1.ReasonNotAllowed, "ServiceAccount %q: %s", key.Name, err)
	}
	get := func(ctx context.Context) (sensitive.String, error) {
		return r.requestToken(ctx, key, audience, k.ExpirationSeconds)
	}
	return assertion{get, fmt.Sprintf("%s/%s", account.UID, audience)}, nil
}

func (r *GrantReconciler) requestToken(ctx context.Context, key types.NamespacedName, audience string, seconds int64) (sensitive.String, error) {
	account := &corev1.ServiceAccount{}
	account.Namespace, account.Name = key.Namespace, key.Name
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{audience}, ExpirationSeconds: &seconds}}
	err := r.SubResource("token").Create(ctx, account, request)
	if apierrors.IsForbidden(err) {
		return sensitive.String{}, failf(v1alpha1.ReasonNotAllowed, "the operator may not request the token of ServiceAccount %q: rbac.kubernetesToken of the chart is off, or its admission policy refuses the audience", key.Name)
	}
	if err != nil {
		return sensitive.String{}, failf(v1alpha1.ReasonCredentialMissing, "the API server gives no token for ServiceAccount %q: %s", key.Name, apierrors.ReasonForError(err))
	}
	return sensitive.New(request.Status.Token), nil
}
