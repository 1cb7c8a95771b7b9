package controllers

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/controllers/publish"
	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// held gives the token in the Secret: from memory or, where the Secret has the default keys, from there.
// It is nil when the token cannot be told from what it was rendered into.
func (g *observation) held() *minted {
	if m := g.past.minted; m != nil && g.record != nil && m.record.SameMint(*g.record) {
		return m
	}
	if g.record != nil {
		if p := g.appPassword(g.record.Name); p != nil {
			return &minted{token: p.Password, record: *g.record}
		}
	}
	if g.record == nil || g.record.Shape != "" || g.drift == publish.Data {
		return nil
	}
	return fromSecret(g.existing, g.record)
}

func fromSecret(s *corev1.Secret, record *plan.Record) *minted {
	if record.Name != "" {
		password := s.Data[corev1.BasicAuthPasswordKey]
		return &minted{token: sensitive.New(string(password)), record: *record}
	}
	token, ok := s.Data[publish.KeyAccessToken]
	if !ok {
		return nil
	}
	return &minted{token: sensitive.New(string(token)), tokenType: string(s.Data[publish.KeyTokenType]), record: *record}
}

// restorable gives the token with which a damaged Secret can be made whole: the one that it held, or that memory has
// for the same inputs, as long as it lives.
func (g *observation) restorable() *minted {
	m := g.held()
	if m == nil && g.record == nil {
		m = g.past.minted
		if p := g.newestAppPassword(); m == nil && p != nil && p.Published {
			m = mintedFrom(p)
		}
	}
	if m == nil || m.record.Expired(g.now) || (m.record.Name != "") != (g.grant.Spec.AppPassword != nil) {
		return nil
	}
	if g.inputs.Token != "" && m.record.Inputs != g.inputs.Token {
		return nil
	}
	return m
}

// unpublished gives a token that was minted for what is asked for now and is newer than the one in the Secret.
func (g *observation) unpublished() *minted { return g.fresh(g.past.minted) }

// withheld gives the token that waits for Nextcloud to read the issuer's keys anew.
func (g *observation) withheld() *minted { return g.fresh(g.past.withheld) }

// fresh gives a token if it is what a mint would give now.
func (g *observation) fresh(m *minted) *minted {
	if m == nil || m.record.Inputs != g.inputs.Token || m.record.Credential != g.inputs.Credential ||
		m.record.Request != refreshRequest(g.grant) {
		return nil
	}
	if g.record != nil && (m.record.Token.IssuedAt.Before(&g.record.Token.IssuedAt) || m.record.SameMint(*g.record)) {
		return nil
	}
	if !g.now.Before(m.record.RefreshAt(string(g.grant.UID), g.grant.Spec.Refresh, rotateAfter(g.grant))) {
		return nil
	}
	return m
}
