package diagnose_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/internal/diagnose"
	"github.com/tokengrant/tokengrant/internal/sensitive"
	"github.com/tokengrant/tokengrant/nextcloud/nextcloudtest"
)

// appPasswordScene is newScene with a grant that asks Nextcloud itself, whose app password is published.
func appPasswordScene(t *testing.T) (s *scene, login, published *corev1.Secret) {
	t.Helper()
	s = newScene(t)
	s.nextcloud.PutUser(nextcloudtest.User{ID: "alice", Password: sensitive.New(clientSecret)})
	s.grant.Spec = v1alpha1.TokenGrantSpec{
		AppPassword: &v1alpha1.AppPassword{Nextcloud: v1alpha1.NextcloudServer{URL: s.grant.Spec.Check.Nextcloud.URL}, From: v1alpha1.AppPasswordSource{LoginSecretRef: &v1alpha1.SecretRef{Name: "login"}}},
		Check:       s.grant.Spec.Check,
	}
	s.grant.Spec.Check.Nextcloud.Expect.NotInGroups = []v1alpha1.GroupName{"admin"}
	login = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "login", Namespace: "apps"}, Data: map[string][]byte{"username": []byte("alice"), "password": []byte(clientSecret)}}
	record, err := plan.Record{Token: v1alpha1.TokenStatus{Username: "alice", IssuedAt: metav1.Now()}, Name: "tokengrant apps/notes-sync"}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	password := s.nextcloud.AddAppPassword("alice", "tokengrant apps/notes-sync")
	published = &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "notes-sync", Namespace: "apps", Annotations: map[string]string{v1alpha1.PublishedAnnotation: string(record)}},
		Data:       map[string][]byte{"username": []byte("alice"), "password": []byte(password.Reveal())},
	}
	s.issuer = nil
	return s, login, published
}

// TestDoctorDoesNotKnowALaterLogin: it says so, and does not look for a Secret.
func TestDoctorDoesNotKnowALaterLogin(t *testing.T) {
	s, login, published := appPasswordScene(t)
	s.grant.Spec.AppPassword.From.LoginSecretRef = nil
	s.more, s.secret = []client.Object{login, published}, nil
	step, is := s.walk(t).First(diagnose.Unknown)
	if !is || step.Name != "login" || !strings.Contains(step.Message, "spec.appPassword.from") {
		t.Errorf("%+v", step)
	}
}

func TestDoctorOfAppPasswords(t *testing.T) {
	failed := func(s *scene, reason, message string) {
		s.grant.Status.ConsecutiveFailures, s.grant.Status.LastAttempt = 1, &v1alpha1.Attempt{Reason: reason, Message: message}
	}
	for name, tc := range map[string]struct {
		harm         func(s *scene, login, published *corev1.Secret)
		step, reason string // where it is broken; empty: it is not
		cure         string // a part of it
	}{
		"all is well":     {func(*scene, *corev1.Secret, *corev1.Secret) {}, "", "", ""},
		"no login":        {func(_ *scene, login, _ *corev1.Secret) { login.Name = "other" }, "login", v1alpha1.ReasonCredentialMissing, "kubectl create secret generic login -n apps --type=kubernetes.io/basic-auth"},
		"half a login":    {func(_ *scene, login, _ *corev1.Secret) { delete(login.Data, "password") }, "login", v1alpha1.ReasonCredentialMissing, "kubectl create secret"},
		"a line break":    {func(_ *scene, login, _ *corev1.Secret) { login.Data["password"] = []byte(clientSecret + "\n") }, "login", v1alpha1.ReasonCredentialRejected, "kubectl create secret"},
		"a refused login": {func(s *scene, _, _ *corev1.Secret) { failed(s, v1alpha1.ReasonCredentialRejected, "refused") }, "login", v1alpha1.ReasonCredentialRejected, "occ user:resetpassword alice"},
		"no encryption key": {func(s *scene, _, published *corev1.Secret) {
			published.Name = "other"
			failed(s, v1alpha1.ReasonEncryptionKeyMissing, "no key")
		}, "app password", v1alpha1.ReasonEncryptionKeyMissing, "openssl rand -base64 32"},
		"nothing yet":      {func(_ *scene, _, published *corev1.Secret) { published.Name = "other" }, "app password", v1alpha1.ReasonPending, "kubectl"},
		"a foreign Secret": {func(_ *scene, _, published *corev1.Secret) { published.Annotations = nil }, "app password", v1alpha1.ReasonPending, "kubectl"},
		"it was deleted":   {func(_ *scene, _, published *corev1.Secret) { published.Data["password"] = []byte("gone") }, "nextcloud", v1alpha1.ReasonNextcloudRejected, "occ user:auth-tokens:list alice"},
		"an administrator": {func(s *scene, _, _ *corev1.Secret) { s.nextcloud.AddToGroup("alice", "admin") }, "nextcloud", v1alpha1.ReasonNextcloudForbidden, "occ group:removeuser admin alice"},
		"another user":     {func(s *scene, _, _ *corev1.Secret) { s.grant.Spec.Check.Nextcloud.Expect.User = "bob" }, "nextcloud", v1alpha1.ReasonNextcloudWrongUser, "log in as the expected user"},
		"a missing folder": {func(s *scene, _, _ *corev1.Secret) {
			s.grant.Spec.Check.Nextcloud.Paths = []v1alpha1.NextcloudPath{{Path: "/Nowhere", Access: v1alpha1.PathRead}}
		}, "paths", v1alpha1.ReasonNextcloudForbidden, "occ files:scan alice"},
	} {
		t.Run(name, func(t *testing.T) {
			s, login, published := appPasswordScene(t)
			password := string(published.Data["password"])
			tc.harm(s, login, published)
			s.more = []client.Object{login, published}
			s.secret = nil
			report := s.walk(t)
			broken, is := report.First(diagnose.Broken)
			if report.FirstBroken != tc.step || broken.Reason != tc.reason || report.Healthy != (tc.step == "") {
				t.Errorf("broken at %q (%s): %s; want %q (%s)", broken.Name, broken.Reason, broken.Message, tc.step, tc.reason)
			}
			if is && !strings.Contains(strings.Join(broken.Cure, "\n"), tc.cure) {
				t.Errorf("cure %q, want %q", broken.Cure, tc.cure)
			}
			if s.nextcloud.Count("GET /ocs/v2.php/core/getapppassword") != 0 || len(s.nextcloud.AppPasswordNames("alice")) != 1 {
				t.Error("the doctor has logged in")
			}
			for _, step := range report.Steps {
				if strings.Contains(step.Message+strings.Join(step.Cure, ""), password) {
					t.Error("the app password is shown")
				}
				t.Logf("%-8s %-13s %s", step.Result, step.Name, step.Message)
			}
		})
	}
}
