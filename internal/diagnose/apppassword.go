package diagnose

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/internal/command"
	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/nextcloud"
)

// appPasswordLine is the order of the steps where no issuer is asked.
var appPasswordLine = []namedStep{
	{"login", (*walk).stepLogin},
	{"app password", (*walk).stepAppPassword},
	{"nextcloud", (*walk).stepNextcloud},
	{"paths", (*walk).stepPaths},
	{stepOperatorName, (*walk).stepOperator},
}

func (w *walk) asksNextcloud() bool { return w.grant != nil && w.grant.Spec.AppPassword != nil }

// stepLogin looks at the login and does not try it: Nextcloud counts each wrong one, and it would make another app password.
func (w *walk) stepLogin(ctx context.Context) Step {
	ref, namespace := w.grant.Spec.AppPassword.From.LoginSecretRef, w.grant.Namespace
	if ref == nil {
		return unknown("this program does not know the login that spec.appPassword.from has")
	}
	name := ref.Name
	create := script{newSecret(name, namespace).Words("--type=kubernetes.io/basic-auth --from-literal=username=USER --from-literal=password=PASSWORD")}
	user, missing := w.readKey(ctx, namespace, name, corev1.BasicAuthUsernameKey, create)
	if missing != nil {
		return *missing
	}
	password, missing := w.readKey(ctx, namespace, name, corev1.BasicAuthPasswordKey, create)
	if missing != nil {
		return *missing
	}
	w.loginName = user.Reveal()
	if strings.TrimSpace(w.loginName) != w.loginName || strings.TrimSpace(password.Reveal()) != password.Reveal() {
		return broken(v1alpha1.ReasonCredentialRejected, create, "the user name or the password in Secret %q begins or ends with a space or a line break", name)
	}
	if last := w.lastFailure(); last != nil && last.Reason == v1alpha1.ReasonCredentialRejected {
		return broken(last.Reason, script{
			command.Comment("is the user enabled"),
			command.New("occ user:info").Arg(w.loginName),
			command.New("occ user:resetpassword").Arg(w.loginName),
			command.Comment("then write the password into the Secret, nothing is tried before its data change"),
			editSecret(name, namespace),
		}, "%s: %s", last.Reason, last.Message)
	}
	return ok("user %q; not tried from here, because Nextcloud counts each wrong login", w.loginName)
}

// stepAppPassword reads the app password that is published.
func (w *walk) stepAppPassword(ctx context.Context) Step {
	name := w.grant.SecretDelivery().Name
	var s corev1.Secret
	err := w.Client.Get(ctx, client.ObjectKey{Namespace: w.grant.Namespace, Name: name}, &s)
	if last := w.lastFailure(); apierrors.IsNotFound(err) && last != nil {
		return broken(last.Reason, w.cureLast(last), "%s: %s", last.Reason, last.Message)
	}
	if err != nil {
		return unreadable(err, v1alpha1.ReasonPending, "Secret", w.grant.Namespace, name, w.cureOperator())
	}
	record, err := plan.ParseRecord(s.Annotations[v1alpha1.PublishedAnnotation])
	if err != nil || record.Name == "" {
		return broken(v1alpha1.ReasonPending, w.cureOperator(), "Secret %q holds no app password that the operator made", name)
	}
	password := s.Data[corev1.BasicAuthPasswordKey]
	if record.Shape != "" || len(password) == 0 {
		return unknown("%q of user %q, which cannot be told from what spec.delivery.secret.data made of it", record.Name, record.Token.Username)
	}
	w.password = sensitive.New(string(password))
	w.accountName = record.Token.Username
	return ok("%q of user %q, made %s", record.Name, record.Token.Username, w.ago(record.Token.IssuedAt.Time))
}

// cureLast mends what the operator says; most of it says itself what to do.
func (w *walk) cureLast(last *v1alpha1.Attempt) script {
	if last.Reason == v1alpha1.ReasonEncryptionKeyMissing {
		return script{
			command.New("openssl rand -base64 32 | tr '+/' '-_' > keys"),
			command.Comment("give that file to the operator as --encryption-keys-file, docs/ways-to-a-token.md says how"),
		}
	}
	return script{w.renew()}
}

func editSecret(name, namespace string) command.Command {
	return command.New("kubectl edit secret").Arg(name).Flag("-n", namespace)
}

// cureAppPassword mends an app password that Nextcloud does not take.
func (w *walk) cureAppPassword(v nextcloud.Verdict) script {
	switch v.Reason {
	case nextcloud.ReasonRejected:
		return script{
			command.Comment("is the user enabled, and is the app password still there"),
			w.withUser(command.New("occ user:info"), w.accountName),
			w.withUser(command.New("occ user:auth-tokens:list"), w.accountName),
			w.renew(),
		}
	case nextcloud.ReasonWrongUser:
		return script{
			command.Comment("log in as the expected user, or correct spec.check.nextcloud.expect.user"),
			editSecret(w.grant.Spec.AppPassword.From.LoginSecretRef.Name, w.grant.Namespace),
		}
	}
	return nil
}

// thing is what is published.
func (w *walk) thing() string {
	if w.asksNextcloud() {
		return "app password"
	}
	return "token"
}
