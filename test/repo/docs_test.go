package repo

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

var (
	fence   = regexp.MustCompile("(?s)\n```.*?\n```")
	inline  = regexp.MustCompile("`[^`\n]*`")
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.+?) *$`)
	notSlug = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors are those that GitHub gives the headings of a page.
func anchors(page string) []string {
	var list []string
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(page, ""), -1) {
		list = append(list, strings.ReplaceAll(notSlug.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return list
}

func TestEveryLinkLeadsSomewhere(t *testing.T) {
	for _, page := range files(t, ".md") {
		prose := inline.ReplaceAllString(fence.ReplaceAllString(read(t, page), ""), "")
		for _, m := range link.FindAllStringSubmatch(prose, -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			file, anchor, _ := strings.Cut(m[1], "#")
			target := page
			if file != "" {
				target = path.Join(path.Dir(page), file)
			}
			info, err := os.Stat(filepath.Join(root, target))
			switch {
			case err != nil:
				t.Errorf("%s: %s does not exist", page, m[1])
			case anchor != "" && (info.IsDir() || !slices.Contains(anchors(read(t, target)), anchor)):
				t.Errorf("%s: %s has no such heading", page, m[1])
			}
		}
	}
}

// TestEveryFieldIsDocumented: the first column of the tables in docs/api.md has every field of the CRDs, by its path,
// under the heading of its kind, and nothing else.
func TestEveryFieldIsDocumented(t *testing.T) {
	row := regexp.MustCompile("(?m)^\\| `((?:spec|status)[.][^`]+)` \\|")
	documented := map[string][]string{}
	for _, section := range strings.Split(read(t, "docs/api.md"), "\n## ")[1:] {
		title, body, _ := strings.Cut(section, "\n")
		for _, m := range row.FindAllStringSubmatch(body, -1) {
			documented[title] = append(documented[title], m[1])
		}
	}
	const issuers = "TokenIssuer and ClusterTokenIssuer"
	known := map[string][]string{"TokenGrant": fields(t, "tokengrants"), issuers: append(fields(t, "clustertokenissuers"), fields(t, "tokenissuers")...)}
	for title, paths := range known {
		for _, p := range paths {
			if !slices.Contains(documented[title], p) {
				t.Errorf("docs/api.md does not have %s under %s", p, title)
			}
		}
		for _, p := range documented[title] {
			if !slices.Contains(paths, p) {
				t.Errorf("docs/api.md has %s under %s, the CRD does not", p, title)
			}
		}
	}
}

// fields lists the fields of a CRD that hold a value, as spec.a.b, and spec.list[].c for objects in lists.
func fields(t *testing.T, plural string) []string {
	t.Helper()
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.Unmarshal([]byte(read(t, "config/crd/bases/tokengrant.dev_"+plural+".yaml")), &crd); err != nil {
		t.Fatal(err)
	}
	var list []string
	var walk func(prefix string, s apiextensionsv1.JSONSchemaProps)
	walk = func(prefix string, s apiextensionsv1.JSONSchemaProps) {
		last := path.Ext(prefix)
		switch {
		case s.Items != nil && s.Items.Schema != nil && len(s.Items.Schema.Properties) > 0 && last != ".conditions":
			walk(prefix+"[]", *s.Items.Schema)
		case len(s.Properties) > 0 && last != ".namespaceSelector": // The types of Kubernetes are documented there.
			for name, property := range s.Properties {
				walk(prefix+"."+name, property)
			}
		default:
			list = append(list, prefix)
		}
	}
	for _, part := range []string{"spec", "status"} {
		walk(part, crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties[part])
	}
	return list
}
