package metrics

import (
	"cmp"
	"slices"
	"strings"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

const (
	// maxNames is how many objects of a kind and a namespace have series of their own. A tenant decides how many there are,
	// and Prometheus pays for each.
	maxNames = 50
	// other is the name that the rest of them share.
	other = "other"
)

// named gives the issuer as which its series are kept: itself, or other where its namespace has too many.
func (r *Recorder) named(i Issuer) Issuer {
	i.Name = label(i.Name)
	r.mu.Lock()
	defer r.mu.Unlock()
	group := Issuer{Kind: i.Kind, Namespace: i.Namespace}
	if !r.seen[i] && r.of[group] >= maxNames && i.Namespace != "" {
		i.Name = other
	}
	if !r.seen[i] {
		r.seen[i] = true
		r.of[group]++
	}
	return i
}

// label makes a value that Prometheus takes of what a user wrote. A single one that is no UTF-8 fails the whole scrape.
func label(value string) string {
	const longest = 253
	value = strings.ToValidUTF8(value, "�")
	if len(value) > longest {
		value = strings.ToValidUTF8(value[:longest], "")
	}
	return value
}

// split orders objects by name, and gives those of a namespace that have series of their own, and the others: one of that
// name is always among them.
func split[T any](objects []T, of func(T) (namespace, name string)) (own, rest []T) {
	slices.SortStableFunc(objects, func(a, b T) int {
		aNamespace, aName := of(a)
		bNamespace, bName := of(b)
		return cmp.Or(cmp.Compare(aNamespace, bNamespace), cmp.Compare(aName, bName))
	})
	count := map[string]int{}
	for _, o := range objects {
		namespace, name := of(o)
		count[namespace]++
		if namespace == "" || count[namespace] <= maxNames && name != other {
			own = append(own, o)
		} else {
			rest = append(rest, o)
		}
	}
	return own, rest
}

// worst puts the grants of a namespace that have no series of their own into one: ready when all are, with the most failures
// and the earliest times.
func worst(grants []*v1alpha1.TokenGrant) []state {
	all := map[string]*state{}
	var order []string
	for _, g := range grants {
		s := stateOf(g)
		known := all[s.namespace]
		if known == nil {
			s.name = other
			all[s.namespace] = &s
			order = append(order, s.namespace)
			continue
		}
		known.merge(s)
	}
	list := make([]state, len(order))
	for i, namespace := range order {
		list[i] = *all[namespace]
	}
	return list
}

func (s *state) merge(o state) {
	s.ready = s.ready && o.ready
	s.accepted = least(s.accepted, o.accepted)
	if o.failures > s.failures {
		s.failures, s.reason = o.failures, o.reason
	}
	s.expires, s.due = least(s.expires, o.expires), least(s.due, o.due)
}

// least is the smaller one of two values that may be absent.
func least(a, b *float64) *float64 {
	if a == nil || b != nil && *b < *a {
		return b
	}
	return a
}
