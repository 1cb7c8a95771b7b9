package diagnose

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/keycloak"
)

// OAuthClient is the client with which a grant's tokens are minted, for whoever wants to use it as the operator would.
// The Step says why there is none.
func (d Doctor) OAuthClient(ctx context.Context, namespace, name string) (keycloak.Client, *Step, error) {
	var grant v1alpha1.TokenGrant
	if err := d.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &grant); err != nil {
		return keycloak.Client{}, nil, err
	}
	grant.Default()
	if grant.Spec.AppPassword != nil {
		s := broken(v1alpha1.ReasonInvalidSpec, nil, "TokenGrant %q asks no issuer, because it has spec.appPassword", name)
		s.Name = "issuer"
		return keycloak.Client{}, &s, nil
	}
	w := &walk{Doctor: d, grant: &grant, ref: grant.Spec.IssuerRef, namespace: namespace, report: &Report{}}
	for _, step := range line[:3] {
		s := step.do(w, ctx)
		if s.Result != OK && s.Result != Warning {
			s.Name = step.name
			return keycloak.Client{}, &s, nil
		}
	}
	return w.oauth(), nil, nil
}

// String is the step in one line.
func (s Step) String() string { return fmt.Sprintf("%s: %s", s.Name, s.Message) }
