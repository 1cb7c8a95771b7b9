package controllers

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/controllers/publish"
	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/internal/stage"
)

// publish writes a token into the Secret: token, times and record in one request. The token stays in memory first,
// so that a refused write is repeated with it and not with another mint.
func (r *GrantReconciler) publish(ctx context.Context, g *observation, m *minted) (err error) {
	ctx, end := stage.Begin(ctx, stage.Publish)
	defer func() { end(err) }()
	g.past.minted = m
	m.record.Shape = shape(g.grant)
	data, err := publish.Render(templates(g.grant), published(m))
	if err != nil {
		return failf(v1alpha1.ReasonInvalidSpec, "spec.delivery.secret.data: %v", err)
	}
	if err := r.writeSecret(ctx, g, data, m.record); err != nil {
		return err
	}
	r.nudge(ctx, g)
	return nil
}

// writeSecret makes the Secret what it should be. It is created, or updated on the condition that nobody changed it
// since it was read; on a conflict it is read and judged anew, once.
func (r *GrantReconciler) writeSecret(ctx context.Context, g *observation, data map[string][]byte, record plan.Record) error {
	desired, err := desiredSecret(g.grant, data, record)
	if err != nil {
		return err
	}
	if g.drift == publish.Immutable {
		// Nothing can be written into it; it is ours, so it makes way for a new one.
		if err := r.Delete(ctx, g.existing, client.Preconditions{UID: &g.existing.UID}); client.IgnoreNotFound(err) != nil {
			return writeFailure(desired.Name, err)
		}
		g.existing = nil
	}
	defer r.memory.write(g.past)()
	s := publish.Build(g.existing, desired)
	err = r.send(ctx, g.existing, s)
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) {
		if s, err = r.rebuild(ctx, g, desired); err == nil {
			err = r.send(ctx, g.existing, s)
		}
	}
	if err != nil {
		return writeFailure(desired.Name, err)
	}
	r.memory.setWritten(g.past, s.ResourceVersion)
	g.existing, g.record, g.drift = s, &record, publish.None
	return nil
}

func (r *GrantReconciler) send(ctx context.Context, existing, s *corev1.Secret) error {
	if existing == nil {
		return r.Create(ctx, s)
	}
	return r.Update(ctx, s)
}

func (r *GrantReconciler) rebuild(ctx context.Context, g *observation, desired publish.Desired) (*corev1.Secret, error) {
	var s corev1.Secret
	err := r.Live.Get(ctx, types.NamespacedName{Namespace: desired.Namespace, Name: desired.Name}, &s)
	switch {
	case apierrors.IsNotFound(err):
		g.existing = nil
	case err != nil:
		return nil, err
	case !publish.Owned(&s, g.grant.UID):
		return nil, conflict(&s)
	default:
		g.existing = &s
	}
	return publish.Build(g.existing, desired), nil
}

// writeFailure tells what the API server said, which never holds the data of the Secret, as a reason to try again.
func writeFailure(name string, err error) error {
	if f, other := asFailure(err); other == nil {
		return f
	}
	if status := apierrors.APIStatus(nil); errors.As(err, &status) {
		return failf(v1alpha1.ReasonSecretNotWritten, "the API server refused Secret %q: %s", name, status.Status().Reason)
	}
	return failf(v1alpha1.ReasonSecretNotWritten, "Secret %q could not be written: no answer from the API server", name)
}

// deleteSecret removes our Secret under a name, and no other's.
func (r *GrantReconciler) deleteSecret(ctx context.Context, grant *v1alpha1.TokenGrant, name string) error {
	var s corev1.Secret
	err := r.Live.Get(ctx, types.NamespacedName{Namespace: grant.Namespace, Name: name}, &s)
	if apierrors.IsNotFound(err) || err == nil && !publish.Owned(&s, grant.UID) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading Secret %s: %w", name, err)
	}
	return client.IgnoreNotFound(r.Delete(ctx, &s, client.Preconditions{UID: &s.UID, ResourceVersion: &s.ResourceVersion}))
}

func desiredSecret(grant *v1alpha1.TokenGrant, data map[string][]byte, record plan.Record) (publish.Desired, error) {
	recorded, err := record.Marshal()
	if err != nil {
		return publish.Desired{}, fmt.Errorf("writing the record: %w", err)
	}
	return publish.Desired{
		Name:        secretName(grant),
		Namespace:   grant.Namespace,
		Owner:       *metav1.NewControllerRef(grant, v1alpha1.GroupVersion.WithKind("TokenGrant")),
		Grant:       grant.Name,
		Labels:      plainMap(grant.SecretDelivery().Labels),
		Annotations: plainMap(grant.SecretDelivery().Annotations),
		Data:        data,
		Type:        secretType(grant),
		Record:      recorded,
	}, nil
}

func published(m *minted) publish.Content {
	if m.record.Name != "" {
		return publish.Content{Username: m.record.Token.Username, Password: m.token, IssuedAt: m.record.Token.IssuedAt.Time}
	}
	return publish.Content{
		AccessToken: m.token,
		TokenType:   m.tokenType,
		IssuedAt:    m.record.Token.IssuedAt.Time,
		ExpiresAt:   m.record.Token.ExpiresAt.Time,
		Scope:       strings.Join(m.record.Token.Scopes, " "),
		Claims:      claims(m.token),
	}
}

// claims reads the payload of a token without verification: it came from the issuer. An opaque token has no claims.
func claims(token sensitive.String) map[string]any {
	parts := strings.Split(token.Reveal(), ".")
	if len(parts) != 3 {
		return nil
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(payload))
	decoder.UseNumber() // so that a template prints exp as the number it is
	var all map[string]any
	if decoder.Decode(&all) != nil {
		return nil
	}
	return all
}

// shape names the templates, so that a change of them is seen.
func shape(grant *v1alpha1.TokenGrant) string {
	t := templates(grant)
	if len(t) == 0 {
		return ""
	}
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(t)) {
		parts = append(parts, k, t[k])
	}
	return plan.HashInputs(parts...)
}

func plainMap[V ~string](m map[string]V) map[string]string {
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[k] = string(v)
	}
	return out
}
