package diagnose

import (
	"context"
	"crypto/tls"

	corev1 "k8s.io/api/core/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/command"
	"github.com/tokengrant/tokengrant/internal/httpclient"
	"github.com/tokengrant/tokengrant/keycloak"
)

// tlsClient reads the certificate, and connects with it where the other requests do without.
func (w *walk) tlsClient(ctx context.Context, t *v1alpha1.ClientCertificate, namespace string) Step {
	name := t.SecretRef.Name
	renew := script{apply(command.New("kubectl create secret tls").Arg(name).Flag("-n", namespace).Words("--cert=client.pem --key=client-key.pem"))}
	certificate, missing := w.readKey(ctx, namespace, name, corev1.TLSCertKey, renew)
	if missing != nil {
		return *missing
	}
	key, missing := w.readKey(ctx, namespace, name, corev1.TLSPrivateKeyKey, renew)
	if missing != nil {
		return *missing
	}
	pair, err := keycloak.ClientCertificate(certificate.Reveal(), key, w.Now())
	if err != nil {
		return invalidCredential(err, namespace, name, renew)
	}
	o, missing := w.connect(ctx, w.issuer.spec.CARef, w.issuer.namespace)
	if missing != nil {
		return *missing
	}
	o.ClientCertificate = pair
	client, err := httpclient.New(o)
	if err != nil {
		return broken(v1alpha1.ReasonInvalidSpec, nil, "spec.caRef of %s cannot be used: %v", w.issuer, err)
	}
	w.credential = credential{auth: keycloak.TLS(), how: "the certificate of the connection", http: client}
	w.credential.cure = func(e *keycloak.Error) script { return w.cureCertificate(e, pair) }
	return ok("the certificate of %q by the authority %q in Secret %q in namespace %q, valid until %s",
		pair.Leaf.Subject, pair.Leaf.Issuer, name, namespace, pair.Leaf.NotAfter.UTC().Format("2006-01-02 15:04 MST"))
}

// cureCertificate tells what Keycloak needs to ask for certificates, from how it knows this one.
func (w *walk) cureCertificate(e *keycloak.Error, pair *tls.Certificate) script {
	if w.realm() == "" {
		return nil
	}
	trust := script{
		command.Comment("Keycloak has to ask for certificates, which its build fixes, and to trust the authority of this one"),
		command.New("kc.sh build --https-client-auth=request"),
		command.New("kc.sh start --optimized --truststore-paths=AUTHORITY.pem"),
	}
	if e.Status == 0 { // It ended the handshake before it knew the client.
		return trust
	}
	return append(w.cureAuthenticator("client-x509", map[string]string{
		"x509.subjectdn": pair.Leaf.Subject.String(), "x509.allow.regex.pattern.comparison": "false",
	}), trust...)
}
