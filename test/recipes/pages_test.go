package recipes

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/tokengrant/tokengrant/controllers/publish"
)

// consumers run what a page's pod runs. A page without one is not tested, and not allowed.
var consumers = map[string]func(*testing.T, *world){
	"authorization-header": authorizationHeader,
	"cronjob-backup":       cronJobBackup,
	"curl":                 curlConfiguration,
	"dotenv":               dotenv,
	"envoy":                envoySidecar,
	"netrc":                netrc,
	"nextcloud-mcp-server": mcpServer,
	"rclone":               rcloneConf,
}

func TestTheProgramReadsWhatTheGrantWrites(t *testing.T) {
	for _, name := range pages(t) {
		t.Run(name, func(t *testing.T) {
			consume := consumers[name]
			if consume == nil {
				t.Fatal("no consumer tests this page")
			}
			consume(t, newWorld(t))
		})
	}
}

func TestAPodMountsTheSecretAsADirectory(t *testing.T) {
	for _, name := range pages(t) {
		p := open(t, name)
		secret, mounted := p.grant.SecretDelivery().Name, false
		if secret == p.grant.Name || secret == "" {
			t.Errorf("%s: the Secret has the name of the grant: a reader cannot tell them apart", name)
		}
		if p.pod.AutomountServiceAccountToken == nil || *p.pod.AutomountServiceAccountToken {
			t.Errorf("%s: the pod gets a token of the cluster that it does not need", name)
		}
		for _, c := range p.containers() {
			if len(c.EnvFrom) > 0 || slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool { return e.ValueFrom != nil }) {
				t.Errorf("%s: %s takes an environment from an object: it would keep the first token", name, c.Name)
			}
			for _, m := range c.VolumeMounts {
				source := p.volume(t, m).Secret
				mounted = mounted || source != nil && source.SecretName == secret
				if m.SubPath != "" || source != nil && !m.ReadOnly {
					t.Errorf("%s: %s mounts %s with subPath, or to write", name, c.Name, m.Name)
				}
			}
		}
		if !mounted {
			t.Errorf("%s: no container mounts %s", name, secret)
		}
	}
}

// A path on a page that is not in the Secret is a spelling mistake that only a running pod would show.
func TestEveryFileThatAPageNamesIsInItsSecret(t *testing.T) {
	file := regexp.MustCompile(`/var/run/tokengrant/([A-Za-z0-9._-]+)`)
	for _, name := range pages(t) {
		p := open(t, name)
		if err := publish.Validate(p.templates()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, m := range file.FindAllStringSubmatch(p.text, -1) {
			if p.templates()[m[1]] == "" {
				t.Errorf("%s: the grant writes no %s", name, m[1])
			}
		}
	}
}

func TestTheIndexHasEveryPage(t *testing.T) {
	index := text(t, "index")
	for _, name := range pages(t) {
		if !strings.Contains(index, "]("+name+".md)") {
			t.Errorf("index.md does not have %s", name)
		}
	}
}
