package diagnose_test

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/diagnose"
)

func TestAUsersSessionIsLookedForAndLeftAlone(t *testing.T) {
	secret := func(name, key string) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "apps"}, Data: map[string][]byte{key: []byte("x")}}
	}
	for name, test := range map[string]struct {
		there  *corev1.Secret
		result diagnose.Result
		says   string
		cure   string
	}{
		"nobody has logged in":                 {nil, diagnose.Broken, "nobody has logged in", "kubectl tokengrant login notes-sync -n apps --secret alice --key refresh_token"},
		"a login that is not used yet":         {secret("alice", "refresh_token"), diagnose.Unknown, `Secret "alice" holds a login`, ""},
		"a session, whose login's Secret went": {secret("notes-sync-tokengrant-session", "session"), diagnose.OK, "the operator needs it. The operator's last try was good", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.grant.Spec.Subject = &v1alpha1.Subject{OfflineTokenSecretRef: &v1alpha1.SecretKeyRef{Name: "alice"}}
			if test.there != nil {
				s.more = append(s.more, test.there)
			}
			step := s.walk(t).Steps[4]
			if step.Name != "mint" || step.Result != test.result || !strings.Contains(step.Message, test.says) || test.cure != "" && !slices.Contains(step.Cure, test.cure) {
				t.Errorf("got %+v", step)
			}
			if n := s.keycloak.Count("refresh_token"); n != 0 {
				t.Errorf("%d refreshes", n)
			}
		})
	}
}

func TestTheEndOfASessionHasItsCure(t *testing.T) {
	for _, tc := range []struct{ reason, message, cure string }{
		{v1alpha1.ReasonReloginRequired, "m", "kubectl tokengrant login notes-sync -n apps --overwrite"},
		{v1alpha1.ReasonEncryptionKeyMissing, "m", "kubectl get secret tokengrant-encryption -n tokengrant-system -o jsonpath='{.data.keys}' | base64 -d"},
		{v1alpha1.ReasonEncryptionKeyMissing, "no key in --import-keys-file fits", "# add the key of the token store to the import keys of the operator, as docs/migrate.md says"},
	} {
		s := newScene(t)
		s.grant.Spec.Subject = &v1alpha1.Subject{OfflineTokenSecretRef: &v1alpha1.SecretKeyRef{Name: "alice"}}
		s.more = append(s.more, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "notes-sync-tokengrant-session", Namespace: "apps"}, Data: map[string][]byte{"session": []byte("x")}})
		s.grant.Status.ConsecutiveFailures, s.grant.Status.LastAttempt = 1, &v1alpha1.Attempt{Time: metav1.Now(), Reason: tc.reason, Message: tc.message}
		step, _ := s.walk(t).First(diagnose.Broken)
		if step.Name != "operator" || !slices.Contains(step.Cure, tc.cure) {
			t.Errorf("%s: got %+v", tc.reason, step)
		}
	}
}
