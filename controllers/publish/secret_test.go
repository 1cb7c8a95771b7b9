package publish

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

var update = flag.Bool("update", false, "write the golden files")

func desired(change ...func(*Desired)) Desired {
	d := Desired{
		Name: "notes-token", Namespace: "apps", Grant: "notes",
		Owner:       metav1.OwnerReference{APIVersion: "tokengrant.dev/v1alpha1", Kind: "TokenGrant", Name: "notes", UID: "uid-1"},
		Labels:      map[string]string{"team": "notes"},
		Annotations: map[string]string{"reflector/allowed": "true"},
		Data:        map[string][]byte{"access_token": []byte("t1"), "token_type": []byte("Bearer")},
		Record:      []byte(`{"token":{"subject":"s"}}`),
	}
	for _, c := range change {
		c(&d)
	}
	return d
}

// published is what the API server holds after the first write, and others have been at it.
func published(change ...func(*corev1.Secret)) *corev1.Secret {
	s := Build(nil, desired())
	s.ResourceVersion, s.UID = "7", "secret-uid"
	for _, c := range change {
		c(s)
	}
	return s
}

func TestBuild(t *testing.T) {
	foreign := func(s *corev1.Secret) {
		s.Labels["argocd"] = "x"
		s.Annotations["reloader"] = "y"
		s.OwnerReferences = append(s.OwnerReferences, metav1.OwnerReference{Kind: "Backup", Name: "b", UID: "uid-b"})
	}
	for name, s := range map[string]*corev1.Secret{
		"create":            Build(nil, desired()),
		"create-basic-auth": Build(nil, desired(func(d *Desired) { d.Type = corev1.SecretTypeBasicAuth })),
		"update-keeps-what-others-added": Build(published(foreign), desired(func(d *Desired) {
			d.Data = map[string][]byte{"url": []byte("u")}
			d.Record = []byte(`{}`)
		})),
		"update-takes-away-what-the-grant-no-longer-says": Build(published(foreign), desired(func(d *Desired) {
			d.Labels, d.Annotations = map[string]string{"stage": "test"}, nil
		})),
		"metadata-without-a-token-in-memory": Build(published(), desired(func(d *Desired) {
			d.Labels, d.Data, d.Record = nil, nil, nil
		})),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := yaml.Marshal(s)
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", name+".yaml")
			if *update {
				if err := os.WriteFile(golden, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestBuildLeavesItsArgumentsAlone(t *testing.T) {
	existing, d := published(), desired(func(d *Desired) { d.Data = map[string][]byte{"new": []byte("x")} })
	s := Build(existing, d)
	s.Labels["later"], s.Data["later"], s.OwnerReferences[0].UID = "x", nil, "x"
	if diff := cmp.Diff(published(), existing); diff != "" {
		t.Errorf("the Secret of the cache changed (-before +after)\n%s", diff)
	}
	if diff := cmp.Diff(desired().Labels, d.Labels); diff != "" || len(d.Data) != 1 {
		t.Errorf("the desired Secret changed: %v %s", d.Labels, d.Data)
	}
}

func TestOurOwnLabelsWin(t *testing.T) {
	s := Build(nil, desired(func(d *Desired) {
		d.Labels = map[string]string{v1alpha1.ManagedByLabel: "Helm", v1alpha1.GrantLabel: "other"}
	}))
	if s.Labels[v1alpha1.ManagedByLabel] != v1alpha1.ManagedByValue || s.Labels[v1alpha1.GrantLabel] != "notes" {
		t.Errorf("labels %v", s.Labels)
	}
}

func TestCompare(t *testing.T) {
	without := func(d *Desired) { d.Data, d.Record = nil, nil }
	same := func(*Desired) {}
	for name, tc := range map[string]struct {
		existing *corev1.Secret
		desired  func(*Desired)
		want     Drift
	}{
		"as published":                       {published(), same, None},
		"as published, no token in memory":   {published(), without, None},
		"gone":                               {nil, same, Missing},
		"gone, no token in memory":           {nil, without, Missing},
		"the grant has another token":        {published(), func(d *Desired) { d.Data = map[string][]byte{"access_token": []byte("t2")} }, Data},
		"the grant has another record":       {published(), func(d *Desired) { d.Record = []byte(`{}`) }, Data},
		"the grant has another label":        {published(), func(d *Desired) { d.Labels = map[string]string{"team": "x"} }, Metadata},
		"a label less, no token in memory":   {published(), func(d *Desired) { without(d); d.Labels = nil }, Metadata},
		"the grant has another type":         {published(), func(d *Desired) { d.Type = corev1.SecretTypeBasicAuth }, Immutable},
		"somebody made it immutable":         {published(func(s *corev1.Secret) { s.Immutable = new(true) }), same, Immutable},
		"immutable: false is not immutable":  {published(func(s *corev1.Secret) { s.Immutable = new(false) }), same, None},
		"a value was edited":                 {published(edit("token_type", "x")), same, Data},
		"a value was edited, no token":       {published(edit("token_type", "x")), without, Data},
		"a key was added":                    {published(edit("extra", "x")), same, Data},
		"a key was added, no token":          {published(edit("extra", "x")), without, Data},
		"all keys were removed, no token":    {published(func(s *corev1.Secret) { s.Data = nil }), without, Data},
		"the record was edited":              {published(annotate(v1alpha1.PublishedAnnotation, "{}")), same, Data},
		"the record was edited, no token":    {published(annotate(v1alpha1.PublishedAnnotation, "{}")), without, Data},
		"the hash was edited, no token":      {published(annotate(hashAnnotation, "x")), without, Data},
		"the hash was edited":                {published(annotate(hashAnnotation, "x")), same, Metadata},
		"a label of ours was removed":        {published(func(s *corev1.Secret) { delete(s.Labels, v1alpha1.ManagedByLabel) }), same, Metadata},
		"a label of the grant was edited":    {published(func(s *corev1.Secret) { s.Labels["team"] = "x" }), without, Metadata},
		"somebody added metadata":            {published(annotate("argocd/tracking", "x"), func(s *corev1.Secret) { s.Labels["x"] = "y" }), same, None},
		"the list of our keys was destroyed": {published(annotate(appliedAnnotation, "{")), same, Metadata},
		"blockOwnerDeletion was cleared":     {published(func(s *corev1.Secret) { s.OwnerReferences[0].BlockOwnerDeletion = nil }), same, Metadata},
		"another owner stands beside us":     {published(owner(nil)), same, None},
		"a Secret nobody owns":               {published(func(s *corev1.Secret) { s.OwnerReferences = nil }), same, Foreign},
		"we are owner, not controller":       {published(func(s *corev1.Secret) { s.OwnerReferences[0].Controller = nil }), same, Foreign},
		"a grant of the same name before us": {published(func(s *corev1.Secret) { s.OwnerReferences[0].UID = "uid-0" }), same, Foreign},
		"of another controller":              {published(owner(new(true)), func(s *corev1.Secret) { s.OwnerReferences = s.OwnerReferences[1:] }), same, Foreign},
	} {
		t.Run(name, func(t *testing.T) {
			d := desired(tc.desired)
			if got := Compare(tc.existing, d); got != tc.want {
				t.Fatalf("Compare = %s, want %s", got, tc.want)
			}
			repairable := tc.want == Metadata || tc.want == Missing && d.Data != nil || tc.want == Data && d.Data != nil
			if repairable && Compare(Build(tc.existing, d), d) != None {
				t.Errorf("what Build returns drifts: %s", Compare(Build(tc.existing, d), d))
			}
		})
	}
}

func edit(key, value string) func(*corev1.Secret) {
	return func(s *corev1.Secret) { s.Data[key] = []byte(value) }
}

func annotate(key, value string) func(*corev1.Secret) {
	return func(s *corev1.Secret) { s.Annotations[key] = value }
}

func owner(controller *bool) func(*corev1.Secret) {
	return func(s *corev1.Secret) {
		s.OwnerReferences = append(s.OwnerReferences, metav1.OwnerReference{Kind: "K", Name: "n", UID: "uid-b", Controller: controller})
	}
}

func TestTheHashKeepsContentsApart(t *testing.T) {
	seen := map[string]string{}
	for name, h := range map[string]string{
		"nothing":                 hash(nil, ""),
		"ab with c":               hash(map[string][]byte{"ab": []byte("c")}, ""),
		"a with bc":               hash(map[string][]byte{"a": []byte("bc")}, ""),
		"a and b":                 hash(map[string][]byte{"a": []byte(""), "b": []byte("c")}, ""),
		"the value as the record": hash(map[string][]byte{"a": nil}, "bc"),
		"bytes that are no text":  hash(map[string][]byte{"a": {0xff}}, ""),
		"other such bytes":        hash(map[string][]byte{"a": {0xfe}}, ""),
	} {
		if other, taken := seen[h]; taken {
			t.Errorf("%s and %s have the same hash", name, other)
		}
		seen[h] = name
	}
}

func TestGrantLabel(t *testing.T) {
	long := strings.Repeat("a", 51) + ".-." + strings.Repeat("b", 100)
	for name, want := range map[string]string{
		"notes":                 "notes",
		strings.Repeat("a", 63): strings.Repeat("a", 63),
		long:                    strings.Repeat("a", 51) + "-34aee0ebb5",
	} {
		got := GrantLabel(name)
		if got != want {
			t.Errorf("GrantLabel(%s) = %s, want %s", name, got, want)
		}
		if faults := validation.IsValidLabelValue(got); len(faults) > 0 {
			t.Errorf("%s: %v", got, faults)
		}
	}
	if GrantLabel(long) == GrantLabel(long+"c") {
		t.Error("two long names have the same label")
	}
}

func TestSessionNameFitsASecret(t *testing.T) {
	if got := SessionName("notes-sync"); got != "notes-sync-tokengrant-session" {
		t.Errorf("name %s", got)
	}
	long := strings.Repeat("a", 253)
	if got := SessionName(long); len(got) > 253 || got == SessionName(long[1:]) {
		t.Errorf("name %s of %d characters", got, len(got))
	}
}
