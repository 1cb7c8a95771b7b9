package diagnose

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/command"
	"github.com/tokengrant/tokengrant/internal/httpclient"
	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/keycloak"
)

// issuer is a TokenIssuer or a ClusterTokenIssuer.
type issuer struct {
	kind, name string
	spec       v1alpha1.TokenIssuerSpec
	allow      []v1alpha1.AllowRule
	status     v1alpha1.IssuerStatus
	// namespace has its Secrets and ConfigMaps.
	namespace string
}

func (i issuer) String() string { return fmt.Sprintf("%s %q", i.kind, i.name) }

func (w *walk) readIssuer(ctx context.Context) error {
	w.issuer = issuer{kind: w.ref.Kind, name: w.ref.Name}
	if w.ref.Kind == KindClusterTokenIssuer {
		var o v1alpha1.ClusterTokenIssuer
		if err := w.Client.Get(ctx, client.ObjectKey{Name: w.ref.Name}, &o); err != nil {
			return err
		}
		w.issuer.spec, w.issuer.allow, w.issuer.status, w.issuer.namespace = *o.Spec.WithDefaults(), o.Spec.Allow, o.Status, w.OperatorNamespace
		return nil
	}
	w.issuer.kind = KindTokenIssuer
	var o v1alpha1.TokenIssuer
	if err := w.Client.Get(ctx, client.ObjectKey{Namespace: w.namespace, Name: w.ref.Name}, &o); err != nil {
		return err
	}
	w.issuer.spec, w.issuer.status, w.issuer.namespace = *o.Spec.WithDefaults(), o.Status, w.namespace
	return nil
}

// unreadable says why an object could not be read: a finding where it is missing, a limit of this walk where the
// reader may not read it.
func unreadable(err error, reason v1alpha1.Reason, kind, namespace, name string, cure script) Step {
	what := fmt.Sprintf("%s %q", kind, name)
	look := command.New("kubectl auth can-i get").Arg(strings.ToLower(kind) + "s/" + name)
	if namespace != "" {
		what += fmt.Sprintf(" in namespace %q", namespace)
		look = look.Flag("-n", namespace)
	}
	switch {
	case apierrors.IsNotFound(err):
		return broken(reason, cure, "%s does not exist", what)
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		return unknown("you may not read %s, so nothing behind it can be tried: ask for that right, or let somebody run this who has it", what).
			with(script{look})
	}
	return unknown("%s could not be read: %s", what, apierrors.ReasonForError(err))
}

// readKey reads one key of a Secret. The Step is a finding when there is no value.
func (w *walk) readKey(ctx context.Context, namespace, name, key string, cure script) (sensitive.String, *Step) {
	return w.readKeyUpTo(ctx, sensitive.MaxSize, "Secret", namespace, name, key, cure)
}

// readKeyUpTo reads one key of a Secret or ConfigMap, with a bound in bytes.
func (w *walk) readKeyUpTo(ctx context.Context, limit int, kind, namespace, name, key string, cure script) (sensitive.String, *Step) {
	at := client.ObjectKey{Namespace: namespace, Name: name}
	var value []byte
	var err error
	if kind == "Secret" {
		var s corev1.Secret
		err = w.Client.Get(ctx, at, &s)
		value = s.Data[key]
	} else {
		var c corev1.ConfigMap
		err = w.Client.Get(ctx, at, &c)
		if value = c.BinaryData[key]; value == nil {
			value = []byte(c.Data[key])
		}
	}
	if err != nil {
		s := unreadable(err, v1alpha1.ReasonCredentialMissing, kind, namespace, name, cure)
		return sensitive.String{}, &s
	}
	if says, _, _ := strings.Cut(sensitive.Unusable(len(value), limit), ":"); says != "" {
		s := broken(v1alpha1.ReasonCredentialMissing, cure, "key %q of %s %q in namespace %q %s", key, kind, name, namespace, says)
		return sensitive.String{}, &s
	}
	return sensitive.New(string(value)), nil
}

// connect builds the client for an address, with the authorities that caRef names.
func (w *walk) connect(ctx context.Context, ref *v1alpha1.CARef, namespace string) (httpclient.Options, *Step) {
	o := httpclient.Options{AllowHTTP: w.AllowHTTP, UserAgent: w.UserAgent}
	if ref == nil {
		return o, nil
	}
	key, kind := ref.Key, ref.Kind
	create := command.New("kubectl create configmap").Arg(ref.Name).Flag("-n", namespace)
	if kind == "Secret" {
		create = newSecret(ref.Name, namespace)
	}
	bundle, missing := w.readKeyUpTo(ctx, sensitive.MaxAuthorities, kind, namespace, ref.Name, key, script{create.Flag("--from-file=", key).Join("=ca.pem")})
	o.RootCAs = []byte(bundle.Reveal())
	return o, missing
}

// failure turns an error of keycloak into a finding.
func failure(err error, cure func(*keycloak.Error) script) Step {
	known, is := errors.AsType[*keycloak.Error](err)
	if !is {
		return unknown("the request could not be made") // Its text is nobody's promise to be clean.
	}
	return broken(known.Reason, cure(known), "%s: %s", known.Reason, known.Error())
}
