package controllers

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// TestMemoryOfWhatIsGone: a tenant makes and deletes objects for ever.
func TestMemoryOfWhatIsGone(t *testing.T) {
	const many = 5000
	r := newReferring(t)
	few := &fewObjects{Client: r.Client, secret: secretOf("", sensitive.MaxClientSecret)}
	r.Client, r.Issuers.Reader, r.Issuers.References = few, few, NewReferences(few, few)
	if err := few.Client.Get(t.Context(), client.ObjectKeyFromObject(r.issuer()), &few.issuer); err != nil {
		t.Fatal(err)
	}
	round := func(i int) {
		few.grant = r.grant(fmt.Sprint("g", i), fmt.Sprint("s", i))
		name := few.grant.Name
		r.look(name)
		if got := r.kept(); got != sensitive.MaxClientSecret {
			t.Fatalf("%d bytes are in memory while the grant lives", got)
		}
		few.grant = nil
		r.look(name)
	}
	for i := range 100 {
		round(i)
	}
	before := heap()
	for i := range many {
		round(100 + i)
	}
	after := heap()
	t.Logf("%d Secrets and grants were made and deleted: heap %.2f MiB before, %.2f MiB after", many, float64(before)/(1<<20), float64(after)/(1<<20))
	if after > before+before/20 {
		t.Error("the heap has grown by more than 5 %")
	}
	runtime.KeepAlive(r)
}

// fewObjects are an issuer, a grant, and a Secret under every name but one: the client for tests takes too long.
type fewObjects struct {
	client.Client

	issuer v1alpha1.TokenIssuer
	grant  *v1alpha1.TokenGrant
	secret *corev1.Secret
}

func (f *fewObjects) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	switch o := into.(type) {
	case *v1alpha1.TokenIssuer:
		f.issuer.DeepCopyInto(o)
		return nil
	case *v1alpha1.TokenGrant:
		if f.grant != nil {
			f.grant.DeepCopyInto(o)
			o.Namespace, o.Name, o.UID = key.Namespace, key.Name, types.UID("uid-of-"+key.Name)
			return nil
		}
	default:
		if !strings.HasPrefix(key.Name, "s") {
			break
		}
		if s, ok := o.(*corev1.Secret); ok {
			f.secret.DeepCopyInto(s)
		}
		o.SetResourceVersion("1")
		return nil
	}
	return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
}

// Status writes nothing.
func (*fewObjects) Status() client.SubResourceWriter { return unwritten{} }

type unwritten struct{ client.SubResourceWriter }

func (unwritten) Patch(context.Context, client.Object, client.Patch, ...client.SubResourcePatchOption) error {
	return nil
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
