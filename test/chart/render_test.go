package chart

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

const pemValue = "caBundle.pem=-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----"

// everything switches on all that can be switched on together.
var everything = []string{
	"watchNamespaces={apps,batch}", "admissionPolicy.enabled=true", "encryption.enabled=true", "importKeys.existingSecret=old-store", pemValue,
	"allowHTTPIssuers=true", "denyPrivateAddresses=true", "allowedHosts={example.com,10.0.0.0/8}", "maxConcurrentReconciles=8", "logLevel=debug", "metrics.port=9443", "metrics.serviceMonitor.enabled=true",
	"metrics.serviceMonitor.interval=30s", "metrics.prometheusRule.enabled=true", "metrics.dashboard.enabled=true",
	"grantSelector=tier=gold", "statusPage.enabled=true", "networkPolicy.enabled=true", "priorityClassName=system-cluster-critical",
	"imagePullSecrets[0].name=registry", "extraArgs={--zap-encoder=console}", "extraEnv[0].name=HTTPS_PROXY",
	"extraVolumes[0].name=x,extraVolumes[0].emptyDir.medium=Memory", "extraVolumeMounts[0].name=x,extraVolumeMounts[0].mountPath=/x",
	"commonLabels.team=platform", "podLabels.a=b", "podAnnotations.c=d", "nodeSelector.disk=ssd",
	"tolerations[0].operator=Exists", "serviceAccount.annotations.e=f",
}

func deployment(t *testing.T, values ...string) *appsv1.Deployment {
	t.Helper()
	return one[*appsv1.Deployment](t, template(t, values...))
}

func manager(t *testing.T, values ...string) corev1.Container {
	t.Helper()
	return deployment(t, values...).Spec.Template.Spec.Containers[0]
}

func TestImage(t *testing.T) {
	digest := "sha256:" + strings.Repeat("a", 64)
	chart, err := os.ReadFile(filepath.Join(shared.chart, "Chart.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var about struct{ AppVersion string }
	if err := yaml.Unmarshal(chart, &about); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		values []string
		want   string
	}{
		"the chart's version by default": {nil, "ghcr.io/tokengrant/manager:" + about.AppVersion},
		"another repository and tag":     {[]string{"image.repository=r.example.com/m", "image.tag=dev"}, "r.example.com/m:dev"},
		"a digest before the tag":        {[]string{"image.tag=dev", "image.digest=" + digest}, "ghcr.io/tokengrant/manager@" + digest},
	} {
		if got := manager(t, c.values...).Image; got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestArguments(t *testing.T) {
	for name, c := range map[string]struct {
		values, want []string
	}{
		"none beside the key: the manager's defaults are the chart's": {nil, []string{"--encryption-keys-file=/etc/tokengrant/encryption/keys"}},
		"metrics off":           {[]string{keyless, "metrics.enabled=false"}, []string{"--metrics-bind-address=0"}},
		"metrics without https": {[]string{keyless, "metrics.secure=false"}, []string{"--metrics-secure=false"}},
		"further arguments":     {[]string{keyless, "extraArgs={--a=b c}"}, []string{"--a=b c"}},
		"all there are, in order": {everything, []string{
			"--watch-namespaces=apps,batch", "--grant-selector=tier=gold", "--leader-election-id=tokengrant.tokengrant.dev", "--metrics-bind-address=:9443", "--status-page",
			"--encryption-keys-file=/etc/tokengrant/encryption/keys", "--import-keys-file=/etc/tokengrant/import-keys/keys", "--allow-http-issuers", "--deny-private-addresses", "--allowed-hosts=example.com,10.0.0.0/8", "--max-concurrent-reconciles=8",
			"--zap-log-level=debug", "--zap-encoder=console",
		}},
	} {
		if diff := cmp.Diff(c.want, manager(t, c.values...).Args); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
}

// TestManagerKnowsTheArguments asks the program itself.
func TestManagerKnowsTheArguments(t *testing.T) {
	_, help, _ := try(t, "go", "run", "./cmd/manager", "--help")
	for _, arg := range slices.Concat(manager(t, everything...).Args, manager(t, "metrics.secure=false").Args) {
		flag, _, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		if !strings.Contains(help, "\n  -"+flag+"\n") && !strings.Contains(help, "\n  -"+flag+" ") {
			t.Errorf("the manager has no flag --%s:\n%s", flag, help)
		}
	}
}

func TestHighlyAvailableByDefault(t *testing.T) {
	objects := template(t)
	d := one[*appsv1.Deployment](t, objects)
	if *d.Spec.Replicas != 2 {
		t.Errorf("%d replicas", *d.Spec.Replicas)
	}
	budget := one[*policyv1.PodDisruptionBudget](t, objects)
	if diff := cmp.Diff(d.Spec.Selector, budget.Spec.Selector); diff != "" || budget.Spec.MaxUnavailable.IntValue() != 1 {
		t.Errorf("the budget is %v, for other pods than the Deployment's: %s", budget.Spec.MaxUnavailable, diff)
	}
	spread := d.Spec.Template.Spec.TopologySpreadConstraints
	if len(spread) != 1 || !cmp.Equal(spread[0].LabelSelector, d.Spec.Selector) {
		t.Errorf("the pods spread by %+v", spread)
	}
	for key, value := range d.Spec.Selector.MatchLabels {
		if d.Spec.Template.Labels[key] != value {
			t.Errorf("the pods have no label %s=%s", key, value)
		}
	}
}

func TestCRDs(t *testing.T) {
	const policy = "helm.sh/resource-policy"
	crds := all[*apiextensionsv1.CustomResourceDefinition](template(t))
	if len(crds) != 3 {
		t.Errorf("%d CRDs, want 3", len(crds))
	}
	for _, crd := range crds {
		if crd.Annotations[policy] != "keep" {
			t.Errorf("%s would go with the release, and all its objects", crd.Name)
		}
	}
	for _, crd := range all[*apiextensionsv1.CustomResourceDefinition](template(t, "crds.keep=false")) {
		if crd.Annotations[policy] != "" {
			t.Errorf("%s stays in spite of crds.keep=false", crd.Name)
		}
	}
	if crds := all[*apiextensionsv1.CustomResourceDefinition](template(t, "crds.enabled=false")); len(crds) != 0 {
		t.Errorf("%d CRDs in spite of crds.enabled=false", len(crds))
	}
}

func TestWatchedNamespacesNeedNoSecretsElsewhere(t *testing.T) {
	objects := template(t, "watchNamespaces={apps,batch}", "rbac.aggregate=false")
	where := map[string]bool{}
	for _, role := range all[*rbacv1.Role](objects) {
		for _, s := range sentences(role.Namespace, role.Rules) {
			if strings.HasSuffix(s, "/secrets create") {
				where[role.Namespace] = true
			}
		}
	}
	if diff := cmp.Diff(map[string]bool{"apps": true, "batch": true}, where); diff != "" {
		t.Errorf("Secrets are written in (-want +got)\n%s", diff)
	}
	var cluster []string
	for _, role := range all[*rbacv1.ClusterRole](objects) {
		cluster = append(cluster, sentences("everywhere", role.Rules)...)
	}
	want := []string{
		"everywhere: /metrics get",
		"everywhere: /status get",
		"everywhere: authentication.k8s.io/tokenreviews create", "everywhere: authorization.k8s.io/subjectaccessreviews create",
		"everywhere: tokengrant.dev/clustertokenissuers list",
		"everywhere: tokengrant.dev/clustertokenissuers watch", "everywhere: tokengrant.dev/clustertokenissuers/status patch",
	}
	slices.Sort(cluster)
	if diff := cmp.Diff(want, cluster); diff != "" {
		t.Errorf("in the whole cluster (-want +got)\n%s", diff)
	}
	binding := one[*admissionv1.ValidatingAdmissionPolicyBinding](t, template(t, "watchNamespaces={apps}", "admissionPolicy.enabled=true", "operatorPolicy.enabled=false"))
	if got := binding.Spec.MatchResources.NamespaceSelector.MatchExpressions[0].Values; !slices.Equal(got, []string{"apps"}) {
		t.Errorf("the admission policy is for %v", got)
	}
}

func TestNoPermissionsWhereOthersGiveThem(t *testing.T) {
	if given := permissions(template(t, "rbac.create=false", "watchNamespaces={apps}")); len(given) > 0 {
		t.Errorf("permissions in spite of rbac.create=false: %v", given)
	}
	objects := template(t, "serviceAccount.create=false", "serviceAccount.name=mine")
	if n := len(all[*corev1.ServiceAccount](objects)); n != 0 {
		t.Errorf("%d ServiceAccounts", n)
	}
	if _, ok := permissions(objects)[namespace+"/mine"]; !ok {
		t.Errorf("permissions are for %v", permissions(objects))
	}
}

func TestEncryptionKey(t *testing.T) {
	objects := template(t, "encryption.enabled=true")
	s := one[*corev1.Secret](t, objects)
	if key, err := base64.URLEncoding.DecodeString(string(s.Data["keys"])); err != nil || len(key) != 32 {
		t.Errorf("%d bytes, %v: no Fernet key", len(key), err)
	}
	if s.Annotations["helm.sh/hook"] != "pre-install,pre-upgrade" {
		t.Error("the key would be of the release, and come and go with its revisions")
	}
	if again := one[*corev1.Secret](t, template(t, "encryption.enabled=true")); cmp.Equal(s.Data, again.Data) {
		t.Error("two installations have the same key")
	}
	if got := one[*appsv1.Deployment](t, objects).Spec.Template.Spec.Volumes[0].Secret.SecretName; got != s.Name {
		t.Errorf("the pod mounts %s, not %s", got, s.Name)
	}
	objects = template(t, "encryption.enabled=true", "encryption.existingSecret=mine")
	if n := len(all[*corev1.Secret](objects)); n != 0 {
		t.Errorf("%d Secrets beside the existing one", n)
	}
	if got := one[*appsv1.Deployment](t, objects).Spec.Template.Spec.Volumes[0].Secret.SecretName; got != "mine" {
		t.Errorf("the pod mounts %s", got)
	}
}

func TestImportKeysAreMountedFromTheirOwnSecret(t *testing.T) {
	spec := deployment(t, keyless, "importKeys.existingSecret=old-store").Spec.Template.Spec
	mounts := spec.Containers[0].VolumeMounts
	if len(spec.Volumes) != 1 || spec.Volumes[0].Secret.SecretName != "old-store" || len(mounts) != 1 || mounts[0].Name != spec.Volumes[0].Name || !mounts[0].ReadOnly {
		t.Errorf("volumes %v, mounts %v", spec.Volumes, mounts)
	}
	for _, a := range manager(t).Args {
		if strings.HasPrefix(a, "--import-keys-file") {
			t.Errorf("%s by default", a)
		}
	}
}

func TestAuthorities(t *testing.T) {
	objects := template(t, pemValue)
	made := one[*corev1.ConfigMap](t, objects)
	if !strings.HasPrefix(made.Data["ca.crt"], "-----BEGIN CERTIFICATE-----\n") {
		t.Errorf("the bundle is %q", made.Data["ca.crt"])
	}
	for _, c := range []struct{ value, configMap string }{{pemValue, made.Name}, {"caBundle.existingConfigMap=trust", "trust"}} {
		spec := deployment(t, keyless, c.value).Spec.Template.Spec
		mount, env := spec.Containers[0].VolumeMounts[0], spec.Containers[0].Env[0]
		if spec.Volumes[0].ConfigMap.Name != c.configMap || env.Name != "SSL_CERT_DIR" || env.Value != mount.MountPath {
			t.Errorf("%s: ConfigMap %s at %s, and %s=%s", c.value, spec.Volumes[0].ConfigMap.Name, mount.MountPath, env.Name, env.Value)
		}
	}
	if d := deployment(t, pemValue); d.Spec.Template.Annotations["checksum/ca"] == "" {
		t.Error("pods would keep an old bundle")
	}
}

func TestMonitors(t *testing.T) {
	service := one[*monitoringv1.ServiceMonitor](t, template(t, "metrics.serviceMonitor.enabled=true", "metrics.serviceMonitor.labels.release=prometheus"))
	if service.Labels["release"] != "prometheus" || service.Spec.Endpoints[0].Scheme.String() != "https" {
		t.Errorf("%+v", service)
	}
	pods := one[*monitoringv1.PodMonitor](t, template(t, "metrics.podMonitor.enabled=true",
		"metrics.podMonitor.authorization.credentials.name=scraper", "metrics.podMonitor.authorization.credentials.key=token"))
	if pods.Spec.PodMetricsEndpoints[0].Authorization.Credentials.Name != "scraper" {
		t.Errorf("%+v", pods.Spec)
	}
	plain := one[*monitoringv1.PodMonitor](t, template(t, "metrics.podMonitor.enabled=true", "metrics.secure=false"))
	if plain.Spec.PodMetricsEndpoints[0].Scheme != nil {
		t.Errorf("%+v", plain.Spec)
	}
	for _, object := range template(t, "metrics.enabled=false") {
		if strings.Contains(object.GetName(), "metrics") {
			t.Errorf("%T %s in spite of metrics.enabled=false", object, object.GetName())
		}
	}
}

func TestAlertsAndDashboardAreTheFiles(t *testing.T) {
	objects := template(t, "metrics.prometheusRule.enabled=true", "metrics.dashboard.enabled=true", "metrics.dashboard.annotations.folder=Ops")
	var file, rule any
	content, err := os.ReadFile(filepath.Join(shared.chart, "files", "rules.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var spec monitoringv1.PrometheusRuleSpec
	if err := yaml.UnmarshalStrict(content, &spec); err != nil {
		t.Fatal(err)
	}
	file, rule = spec, one[*monitoringv1.PrometheusRule](t, objects).Spec
	if diff := cmp.Diff(file, rule); diff != "" {
		t.Errorf("the PrometheusRule is not files/rules.yaml: (-file +rule)\n%s", diff)
	}
	dashboard := one[*corev1.ConfigMap](t, objects)
	if dashboard.Labels["grafana_dashboard"] != "1" || dashboard.Annotations["folder"] != "Ops" {
		t.Errorf("labels %v, annotations %v", dashboard.Labels, dashboard.Annotations)
	}
	if content, err = os.ReadFile(filepath.Join(shared.chart, "files", "dashboard.json")); err != nil {
		t.Fatal(err)
	}
	if !json.Valid([]byte(dashboard.Data["tokengrant.json"])) || strings.TrimSpace(dashboard.Data["tokengrant.json"]) != strings.TrimSpace(string(content)) {
		t.Error("the ConfigMap is not files/dashboard.json")
	}
}

func TestNetworkPolicyIsForThePods(t *testing.T) {
	objects := template(t, "networkPolicy.enabled=true", "networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.name=monitoring")
	policy := one[*networkingv1.NetworkPolicy](t, objects)
	if diff := cmp.Diff(*one[*appsv1.Deployment](t, objects).Spec.Selector, policy.Spec.PodSelector); diff != "" {
		t.Errorf("for other pods: %s", diff)
	}
	want := []networkingv1.NetworkPolicyPeer{{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"name": "monitoring"}}}}
	if diff := cmp.Diff(want, policy.Spec.Ingress[1].From); diff != "" {
		t.Errorf("metrics are for (-want +got)\n%s", diff)
	}
	if len(policy.Spec.Egress) == 0 || len(policy.Spec.PolicyTypes) != 2 {
		t.Errorf("%+v", policy.Spec)
	}
}

func TestLabelsReachWhatTheyAreFor(t *testing.T) {
	objects := template(t, everything...)
	for _, object := range objects {
		for _, label := range []string{"team", "app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/version", "helm.sh/chart"} {
			if object.GetLabels()[label] == "" {
				t.Errorf("%T %s has no label %s", object, object.GetName(), label)
			}
		}
	}
	spec := one[*appsv1.Deployment](t, objects).Spec.Template
	if spec.Labels["a"] != "b" || spec.Annotations["c"] != "d" || spec.Spec.NodeSelector["disk"] != "ssd" ||
		spec.Spec.PriorityClassName != "system-cluster-critical" || len(spec.Spec.Tolerations) != 1 || spec.Spec.ImagePullSecrets[0].Name != "registry" {
		t.Errorf("%+v", spec)
	}
}

// TestReleasesDoNotCollide: two releases, and names that are overridden or too long.
func TestReleasesDoNotCollide(t *testing.T) {
	names := func(values ...string) map[string]bool {
		found := map[string]bool{}
		for _, object := range template(t, append(values, "crds.enabled=false")...) {
			if len(object.GetName()) > 63 {
				t.Errorf("%s is too long for a label", object.GetName())
			}
			found[kindOf(object)+object.GetName()] = true
		}
		return found
	}
	first := names()
	for name := range names("fullnameOverride=" + strings.Repeat("other", 12)) {
		if first[name] {
			t.Errorf("both releases have %s", name)
		}
	}
}

func kindOf(object client.Object) string { return object.GetObjectKind().GroupVersionKind().Kind + "/" }
