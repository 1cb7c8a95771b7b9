package publish

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

const (
	// hashAnnotation finds edits of the data and the record after a restart, when no token is in memory to
	// compare with. It is SHA-256 without a key, which tells nobody anything: Kubernetes lets no one read
	// the annotation who may not read the data, and what makes the data secret is too random to be guessed.
	hashAnnotation = "tokengrant.dev/data-hash"
	// appliedAnnotation lists, as JSON, the keys of the labels and annotations that came from the grant, so
	// that they can be taken away again and those of others stay.
	appliedAnnotation = "tokengrant.dev/applied-metadata"
)

// Desired is the Secret as it shall be.
type Desired struct {
	Name, Namespace string
	// Owner refers to the grant. Its Controller and BlockOwnerDeletion are always published as true.
	Owner metav1.OwnerReference
	// Grant is the name of the grant.
	Grant               string
	Labels, Annotations map[string]string
	// Data and Record belong to one mint. Record is JSON and stands in v1alpha1.PublishedAnnotation. With
	// Data nil, which is when a restarted operator holds no token, both stay as they are.
	Data   map[string][]byte
	Record []byte
	// Type is Opaque when empty. The API server lets it never change.
	Type corev1.SecretType
}

// Build returns the object to write: to create with existing nil, else existing with what d says. It
// keeps the labels, annotations and owner references that others put there, and the resourceVersion, so
// that an update meets a conflict when somebody was faster. Data is replaced as a whole. It does not ask
// whether existing may be touched: that is Compare's answer.
func Build(existing *corev1.Secret, d Desired) *corev1.Secret {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: d.Name, Namespace: d.Namespace}, Type: typeOf(d)}
	if existing != nil {
		s = existing.DeepCopy()
	}
	before := appliedTo(s)
	s.Labels = overlay(s.Labels, before.Labels, d.Labels)
	s.Labels[v1alpha1.ManagedByLabel] = v1alpha1.ManagedByValue
	s.Labels[v1alpha1.GrantLabel] = GrantLabel(d.Grant)

	s.Annotations = overlay(s.Annotations, before.Annotations, d.Annotations)
	s.Annotations[appliedAnnotation] = applied{sortedKeys(d.Labels), sortedKeys(d.Annotations)}.String()
	if d.Data != nil {
		s.Data = maps.Clone(d.Data)
		s.Annotations[v1alpha1.PublishedAnnotation] = string(d.Record)
		s.Annotations[hashAnnotation] = hash(d.Data, string(d.Record))
	}

	s.OwnerReferences = slices.DeleteFunc(s.OwnerReferences, func(o metav1.OwnerReference) bool { return o.UID == d.Owner.UID })
	owner := d.Owner
	owner.Controller, owner.BlockOwnerDeletion = new(true), new(true)
	s.OwnerReferences = append(s.OwnerReferences, owner)
	return s
}

// GrantLabel is the value of v1alpha1.GrantLabel for a grant: its name, or where that is too long for a label
// (63 characters) its first part and a hash of the whole.
func GrantLabel(name string) string {
	if len(name) <= validation.LabelValueMaxLength {
		return name
	}
	const digits = 10
	sum := sha256.Sum256([]byte(name))
	head := strings.TrimRight(name[:validation.LabelValueMaxLength-digits-1], "-.")
	return head + "-" + hex.EncodeToString(sum[:])[:digits]
}

// SessionName is the name of the Secret in which the session of a grant is kept, encrypted.
func SessionName(grant string) string {
	const suffix = "-tokengrant-session"
	if len(grant)+len(suffix) > validation.DNS1123SubdomainMaxLength {
		grant = GrantLabel(grant)
	}
	return grant + suffix
}

func typeOf(d Desired) corev1.SecretType {
	if d.Type == "" {
		return corev1.SecretTypeOpaque
	}
	return d.Type
}

// hash covers keys and values of the data, and the record. JSON keeps them apart: no two contents give
// the same bytes.
func hash(data map[string][]byte, record string) string {
	content, err := json.Marshal(struct {
		Data   map[string][]byte
		Record []byte
	}{data, []byte(record)})
	if err != nil {
		panic(err) // a map of strings to bytes has always a JSON form
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// applied is the content of appliedAnnotation.
type applied struct {
	Labels      []string `json:"labels,omitempty"`
	Annotations []string `json:"annotations,omitempty"`
}

// appliedTo reads it; without a readable one, nothing is taken away.
func appliedTo(s *corev1.Secret) applied {
	var a applied
	if json.Unmarshal([]byte(s.Annotations[appliedAnnotation]), &a) != nil {
		return applied{}
	}
	return a
}

func (a applied) String() string {
	text, err := json.Marshal(a)
	if err != nil {
		panic(err) // strings have always a JSON form
	}
	return string(text)
}

// overlay returns present without the keys we set before, and with those we set now.
func overlay(present map[string]string, before []string, now map[string]string) map[string]string {
	result := make(map[string]string, len(present)+len(now))
	maps.Copy(result, present)
	for _, key := range before {
		delete(result, key)
	}
	maps.Copy(result, now)
	return result
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
