// Command manifests writes what the Helm chart and the kustomize overlays take from config/: the CRDs, the admission
// policies, and the operator's permissions, split by where they must be given. `make manifests` runs it after
// controller-gen, so a marker in the code reaches every way to install.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/tokengrant/tokengrant/hack/stack"
)

const roleFile = "config/rbac/role.yaml"

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "manifests:", err)
		os.Exit(1)
	}
}

func run() error {
	root, err := stack.Root()
	if err != nil {
		return err
	}
	if err := os.Chdir(root); err != nil {
		return err
	}
	if err := copyInto("charts/tokengrant/files/crds", "config/crd/bases/*.yaml"); err != nil {
		return err
	}
	if err := copyInto("charts/tokengrant/files", "config/admission/policy.yaml"); err != nil {
		return err
	}
	if err := copyInto("charts/tokengrant/files/operator-policy", "config/operator-policy/policy_*.yaml"); err != nil {
		return err
	}
	var role rbacv1.ClusterRole
	content, err := os.ReadFile(roleFile)
	if err != nil {
		return err
	}
	if err := yaml.UnmarshalStrict(content, &role); err != nil {
		return fmt.Errorf("%s: %w", roleFile, err)
	}
	p := split(role.Rules)
	if err := write("charts/tokengrant/files/permissions.yaml", p); err != nil {
		return err
	}
	return overlay(p)
}

// overlay writes the roles of config/rbac, each a switch of its own, and those of config/namespaced.
func overlay(p permissions) error {
	return errors.Join(
		write("config/rbac/role_manager.yaml", clusterRole("tokengrant-manager", slices.Concat(p.Namespaced, p.AllNamespaces))),
		write("config/rbac/role_cluster_issuers.yaml", clusterRole("tokengrant-cluster-issuers", p.Cluster)),
		write("config/rbac/role_kubernetes_token.yaml", clusterRole("tokengrant-kubernetes-token", p.Tokens)),
		write("config/namespaced/role_manager.yaml", role("tokengrant-manager", p.Namespaced)),
		write("config/namespaced/role_kubernetes_token.yaml", role("tokengrant-kubernetes-token", p.Tokens)),
	)
}

func clusterRole(name string, rules []rbacv1.PolicyRule) rbacv1.ClusterRole {
	return rbacv1.ClusterRole{
		TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "ClusterRole"},
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Rules:      rules,
	}
}

func role(name string, rules []rbacv1.PolicyRule) rbacv1.Role {
	return rbacv1.Role{
		TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "Role"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "tokengrant-system"},
		Rules:      rules,
	}
}

// copyInto makes the files of a folder that match the pattern's base the same as those of the pattern.
func copyInto(folder, pattern string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(folder, filepath.Base(pattern)))
	if err != nil {
		return err
	}
	for _, file := range old {
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	sources, err := filepath.Glob(pattern)
	if err != nil {
		return err
	}
	if len(sources) == 0 {
		return fmt.Errorf("no file is called %s", pattern)
	}
	for _, source := range sources {
		content, err := os.ReadFile(source)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, filepath.Base(source)), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func write(path string, object any) error {
	content, err := yaml.Marshal(object)
	if err != nil {
		return err
	}
	return os.WriteFile(path, append([]byte("# Written by `make manifests` from "+roleFile+".\n"), content...), 0o644)
}
