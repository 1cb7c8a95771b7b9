package plan

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

func BenchmarkDecide(b *testing.B) {
	now := time.Unix(1795426038, 0)
	in := Input{
		Now: now.Add(time.Minute), UID: "5d3c7b0e-3c1c-4f0e-9b8e-0f6f2f6f7a11", Inputs: Inputs{Token: "a", Credential: "b"},
		Held: &Record{Inputs: "a", Credential: "b", Token: v1alpha1.TokenStatus{
			IssuedAt: metav1.NewTime(now), ExpiresAt: metav1.NewTime(now.Add(5 * time.Minute)),
		}},
	}
	b.ReportAllocs()
	for b.Loop() {
		if Decide(in).Mint {
			b.Fatal("not due")
		}
	}
}
