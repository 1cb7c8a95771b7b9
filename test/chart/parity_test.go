package chart

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// keyless: kustomize cannot make a key.
const keyless = "encryption.enabled=false"

// The two ways to install, in pairs that must give the same.
var pairs = map[string]struct {
	overlay string
	values  []string
}{
	"everywhere":                  {"config/default", []string{keyless}},
	"in its own namespace only":   {"config/namespaced", []string{"watchNamespaces={" + namespace + "}", keyless}},
	"with the fewest permissions": {"test/chart/testdata/minimal", []string{"watchNamespaces={" + namespace + "}", keyless, "clusterIssuers=false", "rbac.kubernetesToken=false"}},
	"with the Prometheus parts":   {"config/with-prometheus", []string{keyless, "metrics.serviceMonitor.enabled=true", "metrics.prometheusRule.enabled=true"}},
	"with sessions kept":          {"test/chart/testdata/encryption", nil},
	"with a store imported":       {"test/chart/testdata/import-keys", []string{"importKeys.existingSecret=tokengrant-import-keys"}},
}

func TestChartAndKustomizeGiveTheSamePermissions(t *testing.T) {
	for name, pair := range pairs {
		t.Run(name, func(t *testing.T) {
			chart, overlay := permissions(template(t, pair.values...)), permissions(kustomize(t, pair.overlay))
			if diff := cmp.Diff(overlay, chart); diff != "" {
				t.Errorf("chart (+) and %s (-) differ; was `make manifests` run?\n%s", pair.overlay, diff)
			}
			if !slices.Contains(chart["tokengrant-system/tokengrant-controller-manager"], "in tokengrant-system: coordination.k8s.io/leases create") {
				t.Error("the operator may not even make its lease: permissions are read wrongly")
			}
		})
	}
}

func TestChartAndKustomizeRunTheSamePod(t *testing.T) {
	for name, pair := range pairs {
		t.Run(name, func(t *testing.T) {
			chart, overlay := pod(t, template(t, pair.values...)), pod(t, kustomize(t, pair.overlay))
			if diff := cmp.Diff(overlay, chart); diff != "" {
				t.Errorf("chart (+) and %s (-) differ:\n%s", pair.overlay, diff)
			}
		})
	}
}

func TestChartAndKustomizeInstallTheSameBesides(t *testing.T) {
	values := []string{keyless, "metrics.serviceMonitor.enabled=true", "metrics.prometheusRule.enabled=true", "metrics.dashboard.enabled=true", "admissionPolicy.enabled=true"}
	chart := template(t, values...)
	overlay := append(kustomize(t, "config/with-prometheus"), kustomize(t, "config/admission")...)
	for what, specs := range map[string]func(manifests) any{
		"CRDs": func(m manifests) any {
			named := map[string]apiextensionsv1.CustomResourceDefinitionSpec{}
			for _, crd := range all[*apiextensionsv1.CustomResourceDefinition](m) {
				named[crd.Name] = crd.Spec
			}
			return named
		},
		"metrics Service": func(m manifests) any {
			spec := one[*corev1.Service](t, m).Spec
			spec.Selector = nil // the Deployment's, tested elsewhere
			return spec
		},
		"PodDisruptionBudget": func(m manifests) any { return one[*policyv1.PodDisruptionBudget](t, m).Spec.MaxUnavailable },
		"ServiceMonitor":      func(m manifests) any { return one[*monitoringv1.ServiceMonitor](t, m).Spec.Endpoints },
		"PrometheusRule":      func(m manifests) any { return one[*monitoringv1.PrometheusRule](t, m).Spec },
		"admission policies":  func(m manifests) any { return policies(m) },
		"admission bindings": func(m manifests) any {
			named := map[string]admissionv1.ValidatingAdmissionPolicyBindingSpec{}
			for _, b := range all[*admissionv1.ValidatingAdmissionPolicyBinding](m) {
				named[b.Name] = b.Spec
			}
			return named
		},
		"dashboard": func(m manifests) any {
			data := map[string]string{}
			for file, content := range one[*corev1.ConfigMap](t, m).Data {
				data[file] = strings.TrimSpace(content)
			}
			return data
		},
		"kinds beside those": func(m manifests) any { return kinds(m) },
		"replicas":           func(m manifests) any { return one[*appsv1.Deployment](t, m).Spec.Replicas },
	} {
		if diff := cmp.Diff(specs(overlay), specs(chart)); diff != "" {
			t.Errorf("%s: chart (+) and config/ (-) differ:\n%s", what, diff)
		}
	}
}

// policies are by their names. Who the operator is must differ: config/ may be moved to another namespace.
func policies(m manifests) map[string]admissionv1.ValidatingAdmissionPolicySpec {
	const suffix, user = `request.userInfo.username.endsWith(':tokengrant-controller-manager')`, `request.userInfo.username == 'system:serviceaccount:tokengrant-system:tokengrant-controller-manager'`
	named := map[string]admissionv1.ValidatingAdmissionPolicySpec{}
	for _, p := range all[*admissionv1.ValidatingAdmissionPolicy](m) {
		for i, c := range p.Spec.MatchConditions {
			if c.Expression == user {
				p.Spec.MatchConditions[i].Expression = suffix
			}
		}
		named[p.Name] = p.Spec
	}
	return named
}

// kinds names every object but the Namespace, which Helm leaves to --create-namespace.
//
// config/ has a role of its own for each switch, where the chart puts all into one.
func kinds(m manifests) []string {
	switches := []string{"tokengrant-cluster-issuers", "tokengrant-kubernetes-token"}
	var names []string
	for _, object := range m {
		if _, ok := object.(*corev1.Namespace); !ok && !slices.Contains(switches, object.GetName()) {
			names = append(names, fmt.Sprintf("%T %s/%s", object, object.GetNamespace(), object.GetName()))
		}
	}
	slices.Sort(names)
	return names
}

// permissions lists what every subject may do, and what unbound ClusterRoles say, in sentences that can be compared.
func permissions(m manifests) map[string][]string {
	rules := map[string][]rbacv1.PolicyRule{}
	bound := map[string]bool{}
	for _, role := range all[*rbacv1.ClusterRole](m) {
		rules["ClusterRole/"+role.Name] = role.Rules
	}
	for _, role := range all[*rbacv1.Role](m) {
		rules["Role/"+role.Namespace+"/"+role.Name] = role.Rules
	}
	given := map[string][]string{}
	give := func(subjects []rbacv1.Subject, role, where string) {
		bound[role] = true
		for _, subject := range subjects {
			who := subject.Namespace + "/" + subject.Name
			given[who] = append(given[who], sentences(where, rules[role])...)
		}
	}
	for _, b := range all[*rbacv1.ClusterRoleBinding](m) {
		give(b.Subjects, b.RoleRef.Kind+"/"+b.RoleRef.Name, "everywhere")
	}
	for _, b := range all[*rbacv1.RoleBinding](m) {
		role := b.RoleRef.Kind + "/" + b.RoleRef.Name
		if b.RoleRef.Kind == "Role" {
			role = b.RoleRef.Kind + "/" + b.Namespace + "/" + b.RoleRef.Name
		}
		give(b.Subjects, role, "in "+b.Namespace)
	}
	for _, role := range all[*rbacv1.ClusterRole](m) {
		if !bound["ClusterRole/"+role.Name] {
			given[role.Name] = append(aggregations(role.Labels), sentences("wherever bound", role.Rules)...)
		}
	}
	for who := range given {
		slices.Sort(given[who])
		given[who] = slices.Compact(given[who])
	}
	return given
}

func aggregations(labels map[string]string) []string {
	var found []string
	for key, value := range labels {
		if strings.HasPrefix(key, "rbac.authorization.k8s.io/") {
			found = append(found, key+"="+value)
		}
	}
	return found
}

func sentences(where string, rules []rbacv1.PolicyRule) []string {
	var list []string
	for _, rule := range rules {
		for _, verb := range rule.Verbs {
			for _, url := range rule.NonResourceURLs {
				list = append(list, fmt.Sprintf("%s: %s %s", where, url, verb))
			}
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					list = append(list, strings.TrimSpace(fmt.Sprintf("%s: %s/%s %s %s", where, group, resource, verb, strings.Join(rule.ResourceNames, ","))))
				}
			}
		}
	}
	return list
}

// pod is the pod of the Deployment, without what must differ: the image, and the label that tells releases apart.
func pod(t *testing.T, m manifests) corev1.PodSpec {
	t.Helper()
	spec := one[*appsv1.Deployment](t, m).Spec.Template.Spec
	for i := range spec.TopologySpreadConstraints {
		delete(spec.TopologySpreadConstraints[i].LabelSelector.MatchLabels, "app.kubernetes.io/instance")
	}
	manager := &spec.Containers[0]
	manager.Image, manager.ImagePullPolicy = "", ""
	if len(manager.Args) == 0 {
		manager.Args = nil
	}
	// config/namespaced learns its namespace from the pod.
	if len(manager.Env) == 1 && manager.Env[0].Name == "POD_NAMESPACE" {
		for i := range manager.Args {
			manager.Args[i] = strings.ReplaceAll(manager.Args[i], "$(POD_NAMESPACE)", namespace)
		}
		manager.Env = nil
	}
	return spec
}

// TestOverlayMovesToAnotherNamespace: what docs/install.md says of config/namespaced.
func TestOverlayMovesToAnotherNamespace(t *testing.T) {
	moved := kustomize(t, "test/chart/testdata/team-a")
	for _, object := range moved {
		if object.GetNamespace() == namespace || object.GetName() == namespace {
			t.Errorf("%T %s stays in %s", object, object.GetName(), namespace)
		}
	}
	for who := range permissions(moved) {
		if strings.HasPrefix(who, namespace+"/") {
			raw, _ := yaml.Marshal(permissions(moved))
			t.Errorf("permissions are given to %s:\n%s", who, raw)
		}
	}
}
