package offline_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tokengrant/tokengrant/internal/offline"
	"github.com/tokengrant/tokengrant/internal/sensitive"
)

func TestAppPasswordsComeBack(t *testing.T) {
	noon := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	want := offline.State{
		Source: "s", RefreshToken: sensitive.New("refresh"),
		AppPasswords: []offline.AppPassword{
			{
				URL: "https://cloud.example.com", User: "alice", Name: "one", Password: sensitive.New("canary-one"), MadeAt: noon, Content: "c",
				Inputs: "i", Credential: "cr", Request: "r", Published: true, Worked: true, Rejected: true, EndAt: noon.Add(time.Minute),
			},
			{Name: "two", Password: sensitive.New("canary-two"), MadeAt: noon},
		},
		Login: &offline.Login{Content: "c", Name: "three", At: noon, Refusal: "no"},
	}
	k := keyring(t, first+"\n")
	sealed, err := k.Seal(want)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(sealed), "canary") {
		t.Error("the sealed state can be read")
	}
	got, err := k.Open(sealed)
	if err != nil {
		t.Fatal(err)
	}
	same := cmp.Comparer(func(a, b sensitive.String) bool { return a.Equal(b) })
	if diff := cmp.Diff(want, got, same); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
	if want.Empty() || !(offline.State{Source: "s"}).Empty() || (offline.State{Login: want.Login}).Empty() {
		t.Error("what there is to lose is not told")
	}
}
