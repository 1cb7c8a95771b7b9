package offline_test

import (
	"reflect"
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
	sealed, err := k.Seal(want, grant)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(sealed), "canary") {
		t.Error("the sealed state can be read")
	}
	got, err := k.Open(sealed, grant)
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

// TestAppPasswordsDifferInEachField: Equal names all fields, also those that come later.
func TestAppPasswordsDifferInEachField(t *testing.T) {
	made := func() offline.AppPassword { return offline.AppPassword{Password: sensitive.New("p")} }
	if !made().Equal(made()) {
		t.Error("two with the same password differ")
	}
	for i := range reflect.TypeFor[offline.AppPassword]().NumField() {
		other := made()
		switch field := reflect.ValueOf(&other).Elem().Field(i); v := field.Addr().Interface().(type) {
		case *string:
			*v = "x"
		case *bool:
			*v = true
		case *time.Time:
			*v = time.Unix(1, 0)
		case *sensitive.String:
			*v = sensitive.New("q")
		default:
			t.Fatalf("the test knows no %T", v)
		}
		if made().Equal(other) {
			t.Errorf("%s does not count", reflect.TypeFor[offline.AppPassword]().Field(i).Name)
		}
	}
}
