package controllers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/controllers/publish"
	"github.com/tokengrant/tokengrant/internal/offline"
	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// accountLogin is the login of a Nextcloud account, as it stands in its Secret.
type accountLogin struct {
	user     string
	password sensitive.String
	// version is the UID and resourceVersion of the Secret; digest is of all its data, for memory and for what is
	// encrypted only: a label on the Secret is no new login, and a refused one must not be tried again for it.
	version, digest string
}

// gatherAppPassword finds out what is kept for a grant, and with what to make more.
func (r *GrantReconciler) gatherAppPassword(ctx context.Context, g *observation) error {
	if err := publish.ValidateAppPassword(templates(g.grant)); err != nil {
		return failf(v1alpha1.ReasonInvalidSpec, "spec.delivery.secret.data: %v", err)
	}
	s, err := r.session(ctx, g)
	if err != nil {
		return err
	}
	login, err := r.accountLogin(ctx, g)
	if err != nil {
		return err
	}
	url := string(g.grant.Spec.AppPassword.Nextcloud.URL)
	g.login = login
	g.adopt(s)
	g.inputs.Token = plan.HashInputs("appPassword", url, login.user)
	g.inputs.Credential = login.version
	content := g.loginContent()
	for _, p := range s.AppPasswords {
		if p.Content == content {
			g.inputs.Credential = p.Credential // Made from the same: whatever else has changed about the Secret.
		}
	}
	if l := s.Login; l != nil && l.Content == content && l.Refusal != "" {
		g.refused = failf(v1alpha1.ReasonCredentialRejected, "%s", l.Refusal)
	}
	return nil
}

// adopt takes up the published app password where nothing else keeps it any more, so that it is deleted one day. It says
// whether it did.
func (g *observation) adopt(s *session) bool {
	if g.record == nil || g.record.Name == "" || g.grant.Spec.AppPassword == nil || g.appPassword(g.record.Name) != nil {
		return false
	}
	m := g.held()
	if m == nil {
		return false
	}
	r := g.record
	p := offline.AppPassword{
		URL: string(g.grant.Spec.AppPassword.Nextcloud.URL), User: r.Token.Username, Name: r.Name, Password: m.token, MadeAt: r.Token.IssuedAt.UTC(),
		Inputs: r.Inputs, Credential: r.Credential, Request: r.Request, Published: true,
	}
	if g.login != nil && g.login.version == r.Credential {
		p.Content = g.loginContent()
	}
	s.AppPasswords, s.unsaved = append([]offline.AppPassword{p}, s.AppPasswords...), true
	return true
}

// loginContent names the login, and the Nextcloud that it is for.
func (g *observation) loginContent() string {
	return plan.HashInputs(string(g.grant.Spec.AppPassword.Nextcloud.URL), g.login.digest)
}

// accountLogin reads both halves of the login from one version of the Secret: a user with another's password would be
// refused.
func (r *GrantReconciler) accountLogin(ctx context.Context, g *observation) (*accountLogin, error) {
	ref := g.grant.Spec.AppPassword.From.LoginSecretRef
	if ref == nil { // A later member of the union, of which not even managedFields tell.
		return nil, failf(v1alpha1.ReasonFieldUnknown, "spec.appPassword.from has no login that this operator knows: upgrade the operator, or set loginSecretRef")
	}
	key := types.NamespacedName{Namespace: g.grant.Namespace, Name: ref.Name}
	meta, err := r.Issuers.References.meta(ctx, kindSecret, key)
	if err != nil {
		return nil, err
	}
	if known := g.past.login; known != nil && meta != nil && known.version == versionOf(meta) {
		return known, nil
	}
	g.past.login = nil
	var s corev1.Secret
	if err := r.Live.Get(ctx, key, &s); apierrors.IsNotFound(err) {
		return nil, failf(v1alpha1.ReasonCredentialMissing, "Secret %q not found in namespace %q: create it with the keys %q and %q of the Nextcloud account",
			key.Name, key.Namespace, corev1.BasicAuthUsernameKey, corev1.BasicAuthPasswordKey)
	} else if err != nil {
		return nil, fmt.Errorf("reading Secret %s: %w", key, err)
	}
	for _, k := range []string{corev1.BasicAuthUsernameKey, corev1.BasicAuthPasswordKey} {
		if err := unusable(reference{kindSecret, key, k}, len(s.Data[k]), sensitive.MaxSize); err != nil {
			return nil, err
		}
	}
	g.past.login = &accountLogin{
		user:     string(s.Data[corev1.BasicAuthUsernameKey]),
		password: sensitive.New(string(s.Data[corev1.BasicAuthPasswordKey])),
		version:  versionOf(&s),
		digest:   digest(s.Data),
	}
	return g.past.login, nil
}

func versionOf(o metav1.Object) string { return string(o.GetUID()) + "/" + o.GetResourceVersion() }

func digest(data map[string][]byte) string {
	text, err := json.Marshal(data)
	if err != nil {
		panic(err) // a map of strings to bytes has always a JSON form
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// mintAppPassword gives the app password that is to be published: the one that is kept and was not published yet, so
// that nothing is made twice, else a new one.
func (r *GrantReconciler) mintAppPassword(ctx context.Context, g *observation) (*minted, error) {
	s, err := r.savedSession(ctx, g)
	if err != nil {
		return nil, err
	}
	if m := g.waitingAppPassword(); m != nil {
		return m, nil
	}
	if l := s.Login; l != nil && l.Content == g.loginContent() && g.now.Before(l.At.Add(plan.LoginPause)) {
		return nil, unanswered(l, g)
	}
	return r.logIn(ctx, g)
}

// waitingAppPassword gives the newest app password, if it is what a login would give now: one that could not be published,
// because of a refused write, a restart, or because Nextcloud does not say of it what is expected. One that has worked
// and is rejected now is given up after a while.
func (g *observation) waitingAppPassword() *minted {
	p := g.newestAppPassword()
	if p == nil || p.Worked && p.Rejected && !g.now.Before(p.MadeAt.Add(plan.RemakeAfter)) {
		return nil
	}
	return g.fresh(mintedFrom(p))
}

// newestAppPassword gives the newest of those that are not on their way out; nil without one.
func (g *observation) newestAppPassword() *offline.AppPassword {
	if g.past.session == nil {
		return nil
	}
	list := g.past.session.AppPasswords
	if len(list) == 0 || !list[len(list)-1].EndAt.IsZero() {
		return nil
	}
	return &list[len(list)-1]
}

// appPassword finds a kept one by its name.
func (g *observation) appPassword(name string) *offline.AppPassword {
	if g.past.session == nil || name == "" {
		return nil
	}
	list := g.past.session.AppPasswords
	if i := slices.IndexFunc(list, func(p offline.AppPassword) bool { return p.Name == name }); i >= 0 {
		return &list[i]
	}
	return nil
}

func mintedFrom(p *offline.AppPassword) *minted {
	return &minted{token: p.Password, record: plan.Record{
		Token:      v1alpha1.TokenStatus{Username: p.User, IssuedAt: metav1.NewTime(p.MadeAt)},
		Inputs:     p.Inputs,
		Credential: p.Credential,
		Request:    p.Request,
		Name:       p.Name,
	}}
}

// secretType is what a grant publishes.
func secretType(grant *v1alpha1.TokenGrant) corev1.SecretType {
	if grant.Spec.AppPassword == nil {
		return corev1.SecretTypeOpaque
	}
	return publish.AppPasswordType(templates(grant))
}

func rotateAfter(grant *v1alpha1.TokenGrant) time.Duration {
	if a := grant.Spec.AppPassword; a != nil {
		return a.Rotation.Every.Duration
	}
	return 0
}

// appPasswordName says who made it and when, to whoever finds it in the settings of the account: at most 120 characters.
// Names tell the app passwords of a grant apart, so no two are of the same second.
func appPasswordName(g *observation, at time.Time) (string, time.Time) {
	const longest = 85
	of := g.grant.Namespace + "/" + g.grant.Name
	if len(of) > longest {
		of = of[:longest-11] + "-" + plan.HashInputs(of)[:10]
	}
	for at = at.UTC().Truncate(time.Second); ; at = at.Add(time.Second) {
		if name := fmt.Sprintf("tokengrant %s %s", of, at.Format(time.RFC3339)); g.appPassword(name) == nil {
			return name, at
		}
	}
}
