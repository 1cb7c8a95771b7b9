package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/diagnose"
	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/keycloak"
)

type loginOptions struct {
	examined
	secret, key string
	scopes      []string
	overwrite   bool
}

func (a *app) loginCommand() *cobra.Command {
	o := loginOptions{}
	cmd := &cobra.Command{
		Use:   "login GRANT",
		Short: "Let a user log in, and keep the offline token in a Secret",
		Long: `Asks the issuer of a grant for a code (device authorization grant, RFC 8628), shows where a user types it, waits until
that is done and writes the offline token into a Secret of the grant's namespace: the one of its
subject.offlineTokenSecretRef, or another by --secret. It is asked for as the grant's own client, because no other can
refresh it. The token is not shown.

The client needs the device flow: kcadm.sh update "clients/$CLIENT" -r REALM -s 'attributes."oauth2.device.authorization.grant.enabled"=true'`,
		Args: cobra.ExactArgs(1),
		RunE: a.runE(func(ctx context.Context, args []string) error { return a.login(ctx, args[0], o) }),
	}
	o.bind(cmd)
	cmd.Flags().StringVar(&o.secret, "secret", "", "name of the Secret; that of the grant's subject.offlineTokenSecretRef by default")
	cmd.Flags().StringVar(&o.key, "key", "", "key of the Secret; that of the grant, or refresh_token, by default")
	cmd.Flags().StringSliceVar(&o.scopes, "scopes", nil, "scopes to ask for besides openid and offline_access")
	cmd.Flags().BoolVar(&o.overwrite, "overwrite", false, "replace a token that the Secret holds")
	return cmd
}

// codeNotAllowed is how Keycloak 26.7 refuses an offline token to a user without the role offline_access.
const codeNotAllowed = "not_allowed"

// loggedIn is what login shows.
type loggedIn struct {
	Namespace string   `json:"namespace"`
	Secret    string   `json:"secret"`
	Key       string   `json:"key"`
	Scopes    []string `json:"scopes,omitempty"`
}

func (a *app) login(ctx context.Context, grant string, o loginOptions) error {
	c, namespace, err := a.cluster()
	if err != nil {
		return err
	}
	used, err := usedLogin(ctx, c, client.ObjectKey{Namespace: namespace, Name: grant})
	if err != nil {
		return err
	}
	if o.secret, o.key = cmp.Or(o.secret, used.Name), cmp.Or(o.key, used.Key, "refresh_token"); o.secret == "" {
		return usagef("TokenGrant %q has no subject.offlineTokenSecretRef: name the Secret with --secret", grant)
	}
	at := client.ObjectKey{Namespace: namespace, Name: o.secret}
	// What cannot be written is told before anybody has logged in.
	held, err := readSecret(ctx, c, at)
	if err != nil {
		return err
	}
	if held != nil && len(held.Data[o.key]) > 0 && !o.overwrite {
		return fmt.Errorf("key %q of Secret %q holds something already: choose another, or say --overwrite", o.key, o.secret)
	}
	oauth, missing, err := o.oauthClient(ctx, a, c, namespace, grant)
	switch {
	case err != nil:
		return err
	case missing != nil:
		return errors.New(missing.String())
	}
	authorization, err := oauth.DeviceAuth(ctx, slices.Concat([]string{"openid", "offline_access"}, o.scopes))
	if err != nil {
		return err
	}
	printf(a.ErrOut, "Open %s and type the code %s", authorization.VerificationURI, authorization.UserCode)
	if authorization.VerificationURIComplete != "" {
		printf(a.ErrOut, ", or open %s", authorization.VerificationURIComplete)
	}
	printf(a.ErrOut, "\nWaiting for at most %s ...\n", authorization.ExpiresIn)
	token, err := oauth.DeviceToken(ctx, authorization)
	refused, _ := errors.AsType[*keycloak.Error](err)
	switch {
	case refused != nil && refused.Code == codeNotAllowed:
		return advised{err, "The user needs the role: kcadm.sh add-roles -r REALM --uusername USER --rolename offline_access"}
	case err != nil:
		return err
	case token.RefreshToken.IsZero():
		return errors.New("the issuer gave no offline token: let the client have the scope offline_access, and the user its role")
	}
	if err := writeSecret(ctx, c, at, held, o.key, token.RefreshToken); err != nil {
		return err
	}
	result := loggedIn{Namespace: namespace, Secret: o.secret, Key: o.key, Scopes: token.Scopes}
	return a.print(result, func() {
		a.line(stateOK, namespace+"/"+o.secret, fmt.Sprintf("key %q holds an offline token for client %q", o.key, oauth.ID))
		if o.secret == used.Name && o.key == cmp.Or(used.Key, "refresh_token") {
			printf(a.Out, "TokenGrant %s uses it at once. When it is Ready, the Secret may be deleted.\n", grant)
			return
		}
		printf(a.Out, offlineSnippet, o.secret, o.key)
	})
}

// usedLogin is where a grant looks for its offline token; empty when it has another subject.
func usedLogin(ctx context.Context, c client.Client, grant client.ObjectKey) (v1alpha1.SecretKeyRef, error) {
	var g v1alpha1.TokenGrant
	if err := c.Get(ctx, grant, &g); err != nil || g.Spec.Subject == nil || g.Spec.Subject.OfflineTokenSecretRef == nil {
		return v1alpha1.SecretKeyRef{}, err
	}
	g.Default()
	return *g.Spec.Subject.OfflineTokenSecretRef, nil
}

// offlineSnippet is what a grant of the same client needs.
const offlineSnippet = `A TokenGrant of that client uses it by:
  spec:
    subject:
      offlineTokenSecretRef: {name: %s, key: %s}
When it is Ready, the Secret may be deleted.
`

func readSecret(ctx context.Context, c client.Client, at client.ObjectKey) (*corev1.Secret, error) {
	var s corev1.Secret
	err := c.Get(ctx, at, &s)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &s, nil
}

// writeSecret leaves the other keys as they are.
func writeSecret(ctx context.Context, c client.Client, at client.ObjectKey, held *corev1.Secret, key string, token sensitive.String) error {
	data := map[string][]byte{key: []byte(token.Reveal())}
	if held == nil {
		return c.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: at.Namespace, Name: at.Name}, Data: data})
	}
	patch := client.MergeFrom(held.DeepCopy())
	if held.Data == nil {
		held.Data = map[string][]byte{}
	}
	held.Data[key] = data[key]
	return c.Patch(ctx, held, patch)
}

// examined are the flags of all commands that do what the operator does.
type examined struct {
	operatorNamespace string
	allowHTTP         bool
}

func (e *examined) bind(cmd *cobra.Command) {
	cmd.Flags().StringVar(&e.operatorNamespace, "operator-namespace", "tokengrant-system", "namespace of the Secrets and ConfigMaps of ClusterTokenIssuers")
	cmd.Flags().BoolVar(&e.allowHTTP, "allow-http-issuers", false, "allow plain http beyond loopback, as the operator's flag of that name does")
}

func (e *examined) doctor(ctx context.Context, a *app, c client.Client) (diagnose.Doctor, error) {
	audiences, err := a.apiAudiences(ctx)
	return diagnose.Doctor{
		Client: c, OperatorNamespace: e.operatorNamespace, AllowHTTP: e.allowHTTP, Now: a.now, UserAgent: "kubectl-tokengrant", APIAudiences: audiences,
	}, err
}

func (e *examined) oauthClient(ctx context.Context, a *app, c client.Client, namespace, grant string) (keycloak.Client, *diagnose.Step, error) {
	d, err := e.doctor(ctx, a, c)
	if err != nil {
		return keycloak.Client{}, nil, err
	}
	return d.OAuthClient(ctx, namespace, grant)
}
