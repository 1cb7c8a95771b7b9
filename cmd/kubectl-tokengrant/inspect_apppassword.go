package main

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
)

// appPasswordInspection is what inspect shows of an app password, which says nothing by itself.
type appPasswordInspection struct {
	Namespace string      `json:"namespace"`
	Name      string      `json:"name"`
	Secret    string      `json:"secret"`
	User      string      `json:"user"`
	ListedAs  string      `json:"listedAs"`
	MadeAt    metav1.Time `json:"madeAt"`
	// Matches says that the Secret is as the operator wrote it; Differences says where not.
	Matches     bool     `json:"matchesRecord"`
	Differences []string `json:"differences,omitempty"`
}

func (a *app) inspectAppPassword(g *v1alpha1.TokenGrant, s *corev1.Secret, record *plan.Record) error {
	i := appPasswordInspection{
		Namespace: g.Namespace, Name: g.Name, Secret: s.Name, User: record.Token.Username, ListedAs: record.Name,
		MadeAt: record.Token.IssuedAt, Differences: driftOf(g, s),
	}
	i.Matches = len(i.Differences) == 0
	err := a.print(i, func() {
		printf(a.Out, "TokenGrant %s/%s: an app password in Secret %q; it has no claims\n", i.Namespace, i.Name, i.Secret)
		a.line(stateOK, "user", i.User)
		a.line(stateOK, "made", since(a.now(), i.MadeAt.Time)+" ago")
		a.line(stateOK, "listed as", fmt.Sprintf("%q: occ user:auth-tokens:list USER", i.ListedAs))
		if i.Matches {
			a.line(stateOK, "record", "the Secret is as the operator wrote it")
		}
		for _, d := range i.Differences {
			a.line(stateBroken, "record", d)
		}
	})
	if err != nil {
		return err
	}
	return broken(!i.Matches)
}
