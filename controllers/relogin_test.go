package controllers

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/command/commandtest"
)

// TestTheCommandToLogInAgainRunsNothingElse: a user pastes what the condition of a grant says, and a tenant names the Secret.
func TestTheCommandToLogInAgainRunsNothingElse(t *testing.T) {
	for name, ref := range map[string]v1alpha1.SecretKeyRef{
		"plain":                  {Name: "alice", Key: "refresh_token"},
		"a command":              {Name: "$(touch mark)", Key: "`touch mark`"},
		"quotes":                 {Name: "';touch mark;'", Key: `";touch mark;"`},
		"an option":              {Name: "--server=https://id.example.com", Key: "refresh_token"},
		"a line break":           {Name: "alice\ntouch mark", Key: "refresh_token"},
		"text that is reversed":  {Name: "alice\u202e", Key: "refresh_token"},
		"a bell and a backspace": {Name: "alice\a\b", Key: "refresh_token"},
	} {
		t.Run(name, func(t *testing.T) {
			grant := &v1alpha1.TokenGrant{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "notes"}}
			grant.Spec.Subject = &v1alpha1.Subject{OfflineTokenSecretRef: &ref}
			said := relogin(grant, failf(v1alpha1.ReasonReloginRequired, "the session is gone")).Error()
			terminal := commandtest.New(t)
			_, line, found := strings.Cut(said, "logs in again by: ")
			if !found {
				if name == "plain" || !strings.Contains(said, "log in again") {
					t.Errorf("no command: %q", said)
				}
				return
			}
			want := []string{"kubectl", "tokengrant", "login", "notes", "-n", "apps", "--secret", ref.Name, "--key", ref.Key, "--overwrite"}
			for _, shell := range commandtest.Shells() {
				if calls, output := terminal.Paste(t, shell, line); terminal.Ran() || len(calls) != 1 || !slices.Equal(calls[0], want) {
					t.Errorf("%s: mark %t, ran %q, want %q; %s", shell, terminal.Ran(), calls, want, output)
				}
			}
		})
	}
}
