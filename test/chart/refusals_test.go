package chart

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		values []string
		want   string
	}{
		"a misspelt value":                     {[]string{"replica=3"}, "'replica' not allowed"},
		"a misspelt value further in":          {[]string{"metrics.serviceMonitor.enable=true"}, "'enable' not allowed"},
		"a negative number of replicas":        {[]string{"replicas=-1"}, "/replicas"},
		"a name that is no namespace":          {[]string{"watchNamespaces={Apps}"}, "/watchNamespaces/0"},
		"a namespace twice":                    {[]string{"watchNamespaces={apps,apps}"}, "/watchNamespaces"},
		"a digest that is none":                {[]string{"image.digest=latest"}, "/image/digest"},
		"a digest in the repository":           {[]string{"image.repository=a@sha256:b"}, "/image/repository"},
		"a pull policy that is none":           {[]string{"image.pullPolicy=Sometimes"}, "/image/pullPolicy"},
		"a port that needs a capability":       {[]string{"metrics.port=443"}, "/metrics/port"},
		"a URL as an allowed host":             {[]string{"allowedHosts={https://id.example.com}"}, "/allowedHosts/0"},
		"an argument that is none":             {[]string{"extraArgs={debug}"}, "/extraArgs/0"},
		"a log level that is none":             {[]string{"logLevel=verbose"}, "/logLevel"},
		"a bundle that is no certificate":      {[]string{"caBundle.pem=abc"}, "/caBundle/pem"},
		"a spread with a selector of its own":  {[]string{"topologySpreadConstraints[0].labelSelector.matchLabels.a=b"}, "/topologySpreadConstraints/0"},
		"a status page without metrics":        {[]string{"statusPage.enabled=true", "metrics.enabled=false"}, "statusPage.enabled needs metrics.enabled"},
		"a monitor without metrics":            {[]string{"metrics.serviceMonitor.enabled=true", "metrics.enabled=false"}, "needs metrics.enabled"},
		"two monitors":                         {[]string{"metrics.serviceMonitor.enabled=true", "metrics.podMonitor.enabled=true"}, "not both"},
		"a monitor of pods that cannot log in": {[]string{"metrics.podMonitor.enabled=true"}, "needs metrics.podMonitor.authorization"},
		"two bundles":                          {[]string{pemValue, "caBundle.existingConfigMap=b"}, "not both"},
	} {
		args := []string{"template", release, shared.chart}
		for _, v := range c.values {
			args = append(args, "--set", v)
		}
		if _, complaint, err := try(t, shared.helm[4], args...); err == nil || !strings.Contains(complaint, c.want) {
			t.Errorf("%s: got %v %s, want a refusal with %q", name, err, complaint, c.want)
		}
	}
}

func TestLint(t *testing.T) {
	for _, helm := range shared.helm {
		run(t, helm, "lint", "--strict", shared.chart)
	}
}

// TestSchemaKnowsEveryValue: a value that the schema does not name would be refused, an object it leaves open would
// swallow typing errors.
func TestSchemaKnowsEveryValue(t *testing.T) {
	read := func(name string, into any) {
		content, err := os.ReadFile(filepath.Join(shared.chart, name))
		if err == nil {
			err = yaml.Unmarshal(content, into)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var values map[string]any
	var schema map[string]any
	read("values.yaml", &values)
	read("values.schema.json", &schema)
	var compare func(path string, values, schema map[string]any)
	compare = func(path string, values, schema map[string]any) {
		properties, _ := schema["properties"].(map[string]any)
		for name := range properties {
			if _, there := values[name]; !there && path+name != "global" { // Helm's own
				t.Errorf("the schema knows %s, and values.yaml does not", path+name)
			}
		}
		for name, value := range values {
			property, there := properties[name].(map[string]any)
			if !there {
				t.Errorf("values.yaml has %s, and the schema does not", path+name)
				continue
			}
			if inner, ok := value.(map[string]any); ok && property["properties"] != nil {
				if property["additionalProperties"] != false {
					t.Errorf("the schema takes any value below %s", path+name)
				}
				compare(path+name+".", inner, property)
			}
		}
	}
	compare("", values, schema)
	if raw, err := json.Marshal(schema["additionalProperties"]); err != nil || string(raw) != "false" {
		t.Error("the schema takes any value")
	}
}
