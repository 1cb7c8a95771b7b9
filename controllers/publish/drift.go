package publish

import (
	"maps"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// Drift says how far a Secret is from what it shall be, and so what may be done about it.
type Drift int

const (
	// None: it is as it shall be.
	None Drift = iota
	// Metadata: only labels, annotations or owner references differ. An update repairs it; no token is needed.
	Metadata
	// Data: the data or the record differ from what was published. An update repairs it with the token in
	// memory; without one, it takes a mint.
	Data
	// Missing: there is none. A create repairs it.
	Missing
	// Immutable: the API server lets nobody change it into what it shall be (immutable: true, or another
	// type). Deleting and creating it repairs it.
	Immutable
	// Foreign: it is not ours. It is never touched.
	Foreign
)

func (d Drift) String() string {
	return [...]string{"None", "Metadata", "Data", "Missing", "Immutable", "Foreign"}[d]
}

// Owned reports whether the object's controller is this very grant; one of the same name that was deleted
// and created again is another.
func Owned(object metav1.Object, grant types.UID) bool {
	controller := metav1.GetControllerOfNoCopy(object)
	return controller != nil && controller.UID == grant
}

// Compare returns the drift of existing, nil when there is none, from d. With d.Data nil the data are held
// against the hash that was published with them.
func Compare(existing *corev1.Secret, d Desired) Drift {
	switch {
	case existing == nil:
		return Missing
	case !Owned(existing, d.Owner.UID):
		return Foreign
	case existing.Immutable != nil && *existing.Immutable, existing.Type != typeOf(d):
		return Immutable
	case dataDiffer(existing, d):
		return Data
	}
	want := Build(existing, d)
	if !maps.Equal(existing.Labels, want.Labels) || !maps.Equal(existing.Annotations, want.Annotations) ||
		!sameReferences(existing.OwnerReferences, want.OwnerReferences) {
		return Metadata
	}
	return None
}

func dataDiffer(existing *corev1.Secret, d Desired) bool {
	record := existing.Annotations[v1alpha1.PublishedAnnotation]
	if d.Data == nil {
		return existing.Annotations[hashAnnotation] != hash(existing.Data, record)
	}
	return record != string(d.Record) || !maps.EqualFunc(existing.Data, d.Data, slices.Equal[[]byte])
}

// sameReferences ignores the order: Build puts ours last.
func sameReferences(a, b []metav1.OwnerReference) bool {
	in := func(list []metav1.OwnerReference) func(metav1.OwnerReference) bool {
		return func(o metav1.OwnerReference) bool {
			return slices.ContainsFunc(list, func(p metav1.OwnerReference) bool { return reflect.DeepEqual(o, p) })
		}
	}
	return len(a) == len(b) && !slices.ContainsFunc(a, func(o metav1.OwnerReference) bool { return !in(b)(o) })
}
