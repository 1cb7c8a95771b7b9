package controllers

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/publish"
	"github.com/tokengrant/tokengrant/internal/offline"
)

const (
	// sessionKey is its one key: an encrypted offline.State.
	sessionKey = "session"
	// sessionType keeps other software from taking it for something to use.
	sessionType corev1.SecretType = "tokengrant.dev/session"
)

// session is what a grant keeps between two mints, encrypted in a Secret that the grant owns.
type session struct {
	offline.State
	// secret is the Secret as it was read or written last; nil when there is none yet.
	secret *corev1.Secret
	// unsaved says that the state is newer than the Secret.
	unsaved bool
	// access is how it was used last; nil after a restart.
	access *access
}

func sessionOf(grant *v1alpha1.TokenGrant) offline.Grant {
	return offline.Grant{Namespace: grant.Namespace, Name: grant.Name, UID: string(grant.UID)}
}

func sessionName(grant *v1alpha1.TokenGrant) string { return publish.SessionName(grant.Name) }

// session gives what is kept for a grant: from memory, where this process wrote it and nobody since, else from the API
// server. The cache is not enough: an old refresh token, sent again, can end the session. A Secret that was deleted,
// damaged or taken is none: then the state in memory is the newest there is, and is to be saved again.
func (r *GrantReconciler) session(ctx context.Context, g *observation) (*session, error) {
	held := g.past.session
	if held != nil && (held.unsaved || !r.sessionChanged(ctx, g.grant, held)) {
		return held, nil
	}
	read, err := r.readSession(ctx, g.grant)
	if _, unanswered := asFailure(err); unanswered != nil {
		return nil, unanswered
	}
	if held != nil && !held.Empty() && (err != nil || read.secret == nil) {
		held.unsaved = true
		return held, nil //nolint:nilerr // what is wrong with the Secret is found again by the write
	}
	if err != nil {
		return nil, err
	}
	if held != nil && held.Source == read.Source {
		read.access = held.access
	}
	g.past.session = read
	if read.unsaved {
		_ = r.saveSession(ctx, g) // It stays unsaved, and is saved before it is used.
	}
	return read, nil
}

func (r *GrantReconciler) readSession(ctx context.Context, grant *v1alpha1.TokenGrant) (*session, error) {
	key := types.NamespacedName{Namespace: grant.Namespace, Name: sessionName(grant)}
	var secret corev1.Secret
	err := r.Live.Get(ctx, key, &secret)
	switch {
	case apierrors.IsNotFound(err):
		return &session{}, nil
	case err != nil:
		return nil, fmt.Errorf("reading Secret %s: %w", key, err)
	case !ownsSession(grant, &secret):
		return nil, sessionConflict(key.Name)
	}
	sealed := secret.Data[sessionKey]
	state, err := r.Keys.Open(sealed, sessionOf(grant))
	switch {
	case errors.Is(err, offline.ErrOtherGrant):
		return nil, failf(v1alpha1.ReasonSecretConflict, "the session in Secret %q is refused: %v. Delete the Secret; a user who had logged in then logs in again", key.Name, err)
	case err != nil:
		return nil, failf(v1alpha1.ReasonEncryptionKeyMissing, "the session in Secret %q cannot be decrypted: %v; where that cannot be mended, delete the Secret to begin anew", key.Name, err)
	}
	return &session{State: state, secret: &secret, unsaved: offline.Outdated(sealed)}, nil
}

func ownsSession(grant *v1alpha1.TokenGrant, secret *corev1.Secret) bool {
	return secret.Type == sessionType && publish.Owned(secret, grant.UID)
}

func sessionConflict(name string) error {
	return failf(v1alpha1.ReasonSecretConflict, "Secret %q, in which the session of this TokenGrant is to be kept, belongs to somebody else and is left untouched: delete it, or choose another name for the TokenGrant", name)
}

// restoreSession writes at once what a refused write or another's hand has left unwritten: it exists in memory only.
// What fails here is tried again before the session is used, and told then.
func (r *GrantReconciler) restoreSession(ctx context.Context, g *observation) {
	if g.past.session == nil || !keepsSession(g.grant) {
		return
	}
	if s, err := r.session(ctx, g); err == nil && s.unsaved {
		_ = r.saveSession(ctx, g)
	}
}

// sessionChanged says whether the cache shows another Secret than the one we know. An older one is not another.
func (r *GrantReconciler) sessionChanged(ctx context.Context, grant *v1alpha1.TokenGrant, s *session) bool {
	var cached corev1.Secret
	err := r.Get(ctx, types.NamespacedName{Namespace: grant.Namespace, Name: sessionName(grant)}, &cached)
	if err != nil {
		return s.secret != nil // Deleted, or not in the cache yet: ask.
	}
	return s.secret == nil || cached.UID != s.secret.UID ||
		cached.ResourceVersion != s.secret.ResourceVersion && !olderThan(cached.ResourceVersion, s.secret.ResourceVersion)
}

// savedSession gives the session of a grant that can keep the next one, and saves first what a former mint could not.
func (r *GrantReconciler) savedSession(ctx context.Context, g *observation) (*session, error) {
	if err := r.canKeep(g.grant); err != nil {
		return nil, err
	}
	s, err := r.session(ctx, g)
	if err == nil && s.unsaved {
		err = r.saveSession(ctx, g)
	}
	return s, err
}

// canKeep says, before a session is opened or continued or an app password is made, whether what comes with it could be
// kept.
func (r *GrantReconciler) canKeep(grant *v1alpha1.TokenGrant) error {
	return sealFailure(grant, r.Keys.Ready())
}

// sealFailure is the failure where nothing can be sealed for a grant.
func sealFailure(grant *v1alpha1.TokenGrant, err error) error {
	if err == nil {
		return nil
	}
	what := "the session of this TokenGrant cannot be kept encrypted"
	if grant.Spec.AppPassword != nil {
		what = "an app password has to be kept encrypted, to be deleted at Nextcloud one day"
	}
	return failf(v1alpha1.ReasonEncryptionKeyMissing, "%s: %v", what, err)
}

// keep writes a new state before anything is done with what came with it. What could not be written stays in memory,
// and is written before the session is used again. It outlives a stop of the operator by a moment.
func (r *GrantReconciler) keep(ctx context.Context, g *observation, state offline.State) error {
	s := g.past.session
	state.AppPasswords, state.Login = s.AppPasswords, s.Login // They end by themselves, whatever the spec asks for now.
	s.State, s.unsaved, s.access = state, true, g.access()
	return r.saveSession(ctx, g)
}

func (r *GrantReconciler) saveSession(ctx context.Context, g *observation) error {
	ctx, cancel := detached(ctx)
	defer cancel()
	s := g.past.session
	sealed, err := r.Keys.Seal(s.State, sessionOf(g.grant))
	if err != nil {
		return sealFailure(g.grant, err)
	}
	defer r.memory.write(g.past)()
	secret := newSessionSecret(g.grant, s.secret, sealed)
	err = r.send(ctx, s.secret, secret)
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) {
		if secret, err = r.rebuildSession(ctx, g, sealed); err == nil {
			err = r.send(ctx, s.secret, secret)
		}
	}
	if err != nil {
		return writeFailure(sessionName(g.grant), err)
	}
	s.secret, s.unsaved = secret, false
	r.memory.setSessionWritten(g.past, secret.ResourceVersion)
	return nil
}

// rebuildSession reads the Secret anew. What we hold is newer than what it holds, whoever touched it.
func (r *GrantReconciler) rebuildSession(ctx context.Context, g *observation, sealed []byte) (*corev1.Secret, error) {
	s := g.past.session
	s.secret = nil
	var current corev1.Secret
	err := r.Live.Get(ctx, types.NamespacedName{Namespace: g.grant.Namespace, Name: sessionName(g.grant)}, &current)
	if err == nil {
		if !ownsSession(g.grant, &current) {
			return nil, sessionConflict(current.Name)
		}
		s.secret = &current
	} else if !apierrors.IsNotFound(err) {
		return nil, err
	}
	return newSessionSecret(g.grant, s.secret, sealed), nil
}

func newSessionSecret(grant *v1alpha1.TokenGrant, existing *corev1.Secret, sealed []byte) *corev1.Secret {
	s := &corev1.Secret{Type: sessionType}
	if existing != nil {
		s = existing.DeepCopy()
	}
	s.Name, s.Namespace = sessionName(grant), grant.Namespace
	if s.Labels == nil {
		s.Labels = map[string]string{}
	}
	s.Labels[v1alpha1.ManagedByLabel] = v1alpha1.ManagedByValue
	s.Labels[v1alpha1.GrantLabel] = publish.GrantLabel(grant.Name)
	if existing == nil {
		s.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(grant, v1alpha1.GroupVersion.WithKind("TokenGrant"))}
	}
	s.Data = map[string][]byte{sessionKey: sealed}
	return s
}
