package repo

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/tokengrant/tokengrant/hack/stack"
)

// TestTheComposeFileIsSound loads it with the specification's own loader: schema, references between services, volumes.
func TestTheComposeFileIsSound(t *testing.T) {
	dir, err := filepath.Abs(filepath.Join(root, "compose"))
	if err != nil {
		t.Fatal(err)
	}
	project, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir: dir, ConfigFiles: []types.ConfigFile{{Filename: filepath.Join(dir, "compose.yaml")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := project.Services["keycloak"].Image, "quay.io/keycloak/keycloak:"+stack.DefaultKeycloakVersion(); got != want {
		t.Errorf("keycloak is %s, tested is %s", got, want)
	}
	for name, service := range project.Services {
		if service.HealthCheck == nil {
			t.Errorf("%s has no healthcheck: up --wait does not wait for it", name)
		}
		for _, port := range service.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s opens port %s to the network, with passwords that everybody knows", name, port.Published)
			}
		}
		for _, volume := range service.Volumes {
			info, err := os.Stat(volume.Source)
			if volume.Type != types.VolumeTypeBind {
				continue
			}
			if err != nil {
				t.Errorf("%s mounts a file that is not there: %v", name, err)
			} else if strings.HasSuffix(volume.Source, ".sh") && info.Mode()&0o111 == 0 {
				t.Errorf("%s: %s cannot be executed, so the image leaves it out", name, volume.Source)
			}
		}
	}
}

// TestTheComposeFileSetsNextcloudUpAsTheDocumentsSay: what was measured is what is run.
func TestTheComposeFileSetsNextcloudUpAsTheDocumentsSay(t *testing.T) {
	script := read(t, "compose/user_oidc.sh")
	for _, option := range []string{"--clientid=nextcloud", "--check-bearer=1", "--bearer-provisioning=0", "--unique-uid=0", "--mapping-uid=preferred_username"} {
		for page, text := range map[string]string{"compose/user_oidc.sh": script, "docs/nextcloud.md": read(t, "docs/nextcloud.md")} {
			if !strings.Contains(text, option) {
				t.Errorf("%s does not have %s", page, option)
			}
		}
	}
}
