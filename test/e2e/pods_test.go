package e2e

import (
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/hack/stack"
	"github.com/tokengrant/tokengrant/keycloak/realm"
)

// rounds is how often the way from Secret to file is measured; docs/propagation.md says what came of more.
var rounds = flag.Int("propagation-rounds", 1, "how often to measure how long a new token takes from Secret to file")

// TestOnANode installs the operator with Helm on a real node, and looks at it from inside pods.
func TestOnANode(t *testing.T) {
	n := startNode(t)
	n.runHelm(t, "install", release, "charts/tokengrant", "--create-namespace",
		"--set=image.repository=tokengrant.test/manager,image.tag=e2e,rbac.nudgePods=true")
	n.pullsNothing(t)

	// Tokens of a minute, in a pod that reads them all the while.
	n.namespace(t, "short")
	short := grantOf("short", "token", "notes-sync", true)
	short.Spec.Refresh.BeforePercentage = new(int32(50))
	n.create(t, clientSecret("short", "notes-sync"), short)
	if s := n.ready(t, "short", "token").Status.Token; s.ExpiresAt.Sub(s.IssuedAt.Time) != time.Minute {
		t.Fatalf("the token lives from %s to %s, want a minute", s.IssuedAt, s.ExpiresAt)
	}
	n.create(t, watcher("short", "reader", "token"))

	t.Run("a job uses a token for WebDAV, and there is no secret anywhere", n.jobWithoutSecret)
	t.Run("a new token reaches a pod, and sooner when it is nudged", n.propagation)
	t.Run("when the leader is killed the other takes over", n.killLeader)
	t.Run("Helm upgrades in place", n.upgrade)
	t.Run("the deletion of a namespace is not held up", n.deleteNamespace)
	t.Run("no read saw a token that had expired", n.neverExpired)
	t.Run("after Helm's uninstall there is no Secret, when its CRDs are not to be kept", n.uninstall)
}

// pullsNothing shows that the operator runs the image that was built here.
func (n *node) pullsNothing(t *testing.T) {
	t.Helper()
	var events corev1.EventList
	if err := n.List(t.Context(), &events, client.InNamespace(stack.OperatorNamespace)); err != nil {
		t.Fatal(err)
	}
	pulled := 0
	for _, e := range events.Items {
		if e.Reason != "Pulled" && e.Reason != "Pulling" {
			continue
		}
		pulled++
		if !strings.Contains(e.Message, "already present on machine") {
			t.Errorf("the node asked a registry: %s", e.Message)
		}
	}
	if pulled == 0 {
		t.Error("no event tells where the image came from")
	}
}

// namespace makes one with an issuer that its grants use.
func (n *node) namespace(t *testing.T, name string) {
	t.Helper()
	n.create(t,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "ca"}, Data: map[string]string{
			"keycloak.crt": string(n.keycloak.CA), "ca.crt": string(n.nextcloud.CA),
		}},
		&v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "kc"}, Spec: v1alpha1.TokenIssuerSpec{
			URL: v1alpha1.HTTPURL(n.keycloak.Issuer(realm.Name)), CARef: &v1alpha1.CARef{Name: "ca", Key: "keycloak.crt"},
		}},
	)
	await(t, "the service account of namespace "+name, time.Minute, func() bool {
		return n.Get(t.Context(), client.ObjectKey{Namespace: name, Name: "default"}, &corev1.ServiceAccount{}) == nil
	})
}

// clientSecret is what the realm's export has for a client.
func clientSecret(namespace, clientID string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: clientID}, StringData: map[string]string{"client-secret": clientID + "-secret"}}
}

func grantOf(namespace, name, clientID string, nudge bool) *v1alpha1.TokenGrant {
	return &v1alpha1.TokenGrant{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: v1alpha1.TokenGrantSpec{
		IssuerRef:      v1alpha1.IssuerRef{Name: "kc"},
		ServiceAccount: &v1alpha1.ServiceAccount{ClientID: clientID, ClientSecret: &v1alpha1.ClientSecret{SecretRef: v1alpha1.SecretKeyRef{Name: clientID}}},
		Exchange:       &v1alpha1.Exchange{Audiences: []v1alpha1.Audience{"nextcloud"}},
		Delivery:       &v1alpha1.Delivery{Secret: &v1alpha1.SecretDelivery{NudgePods: nudge}},
	}}
}

// ready waits for a grant.
func (n *node) ready(t *testing.T, namespace, name string) *v1alpha1.TokenGrant {
	t.Helper()
	g := &v1alpha1.TokenGrant{}
	await(t, "TokenGrant "+namespace+"/"+name+" Ready", time.Minute, func() bool {
		err := n.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, g)
		return err == nil && meta.IsStatusConditionTrue(g.Status.Conditions, v1alpha1.ConditionReady)
	}, func() string { return fmt.Sprintf("%+v", g.Status) })
	return g
}

// consumer is a pod that mounts the token of a grant.
func consumer(secret string, args ...string) corev1.PodSpec {
	ca := corev1.LocalObjectReference{Name: "ca"}
	return corev1.PodSpec{
		RestartPolicy:                 corev1.RestartPolicyNever,
		AutomountServiceAccountToken:  new(false),
		TerminationGracePeriodSeconds: new(int64(1)),
		Containers: []corev1.Container{{
			Name: "consumer", Image: consumerImage, Args: args,
			VolumeMounts: []corev1.VolumeMount{{Name: "token", MountPath: "/token", ReadOnly: true}, {Name: "ca", MountPath: "/ca", ReadOnly: true}},
		}},
		Volumes: []corev1.Volume{
			{Name: "token", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: secret}}},
			{Name: "ca", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: ca}}},
		},
	}
}

func watcher(namespace, name, secret string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: consumer(secret, "watch", "/token/access_token")}
}

// seen is what test/e2e/consumer prints of one token.
type seen struct {
	ID                string
	At, Until, Expiry time.Time
	Reads             int
}

// watched gives what a pod has seen of each token, in order.
func (n *node) watched(t *testing.T, namespace, pod string) []seen {
	t.Helper()
	var all []seen
	decoder := json.NewDecoder(strings.NewReader(n.logs(t, namespace, pod)))
	for decoder.More() {
		var s seen
		if err := decoder.Decode(&s); err != nil {
			t.Fatalf("pod %s/%s printed something else: %v", namespace, pod, err)
		}
		switch {
		case s.ID == "":
		case len(all) > 0 && all[len(all)-1].ID == s.ID:
			all[len(all)-1] = s
		default:
			all = append(all, s)
		}
	}
	return all
}

// jobWithoutSecret authenticates by a token of the cluster's own, and uses what it gets at Nextcloud.
func (n *node) jobWithoutSecret(t *testing.T) {
	n.namespace(t, "apps")
	grant := grantOf("apps", "files", "kubernetes", false)
	grant.Spec.ServiceAccount = &v1alpha1.ServiceAccount{ClientID: "kubernetes", KubernetesToken: &v1alpha1.KubernetesToken{ServiceAccountName: "notes-sync"}}
	grant.Spec.Check = &v1alpha1.Check{Nextcloud: &v1alpha1.NextcloudCheck{URL: v1alpha1.HTTPURL(n.nextcloud.URL)}}
	if n.nextcloud.CA != nil {
		grant.Spec.Check.Nextcloud.CARef = &v1alpha1.CARef{Name: "ca"}
	}
	n.create(t, grant, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{
		Namespace: "apps", Name: "notes-sync", Annotations: map[string]string{v1alpha1.AllowTokenRequestAnnotation: "true"},
	}})
	g := n.ready(t, "apps", "files")

	folder := n.nextcloud.URL + "/remote.php/dav/files/" + g.Status.Check.User + "/"
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "webdav"}, Spec: batchv1.JobSpec{
		BackoffLimit: new(int32(0)), Template: corev1.PodTemplateSpec{Spec: consumer("files", "webdav", "/token/access_token", folder)},
	}}
	n.create(t, job)
	await(t, "the end of the job", time.Minute, func() bool {
		err := n.Get(t.Context(), client.ObjectKeyFromObject(job), job)
		return err == nil && job.Status.Succeeded+job.Status.Failed > 0
	})
	var pods corev1.PodList
	if err := n.List(t.Context(), &pods, client.InNamespace("apps"), client.MatchingLabels{batchv1.JobNameLabel: "webdav"}); err != nil || len(pods.Items) != 1 {
		t.Fatalf("%d pods of the job: %v", len(pods.Items), err)
	}
	if said := n.logs(t, "apps", pods.Items[0].Name); job.Status.Succeeded != 1 {
		t.Errorf("the job failed: %s", said)
	}

	var secrets corev1.SecretList
	if err := n.List(t.Context(), &secrets); err != nil {
		t.Fatal(err)
	}
	for _, s := range secrets.Items {
		switch {
		case s.Namespace == "short": // where the other way is tested
		case s.Namespace == "apps" && s.Name == "files": // the published token
		case s.Namespace == stack.OperatorNamespace && (s.Name == release+"-encryption" || strings.HasPrefix(s.Name, "sh.helm.release.")): // no credentials
		default:
			t.Errorf("Secret %s/%s: want none but the published token", s.Namespace, s.Name)
		}
	}
}

// propagation measures how long a token takes from its Secret to a pod's file.
func (n *node) propagation(t *testing.T) {
	const clientID = "nextcloud-mcp-server"
	n.namespace(t, "slow")
	n.create(t, clientSecret("slow", clientID))
	limits := map[string]time.Duration{"waiting": 2 * time.Minute, "nudged": 5 * time.Second}
	for name := range limits {
		n.create(t, grantOf("slow", name, clientID, name == "nudged"), watcher("slow", name, name))
	}
	for name := range limits {
		await(t, "a token in pod "+name, time.Minute, func() bool {
			var p corev1.Pod
			err := n.Get(t.Context(), client.ObjectKey{Namespace: "slow", Name: name}, &p)
			return err == nil && p.Status.Phase == corev1.PodRunning && len(n.watched(t, "slow", name)) > 0
		})
	}
	for round := range *rounds {
		for name, limit := range limits {
			written, id := n.refresh(t, name, fmt.Sprint(round))
			var s seen
			await(t, "the new token in pod "+name, limit+30*time.Second, func() bool {
				all := n.watched(t, "slow", name)
				s = all[len(all)-1]
				return s.ID == id
			})
			if took := s.At.Sub(written); took > limit {
				t.Errorf("%s: Secret to file took %s, want at most %s", name, took, limit)
			} else {
				t.Logf("%s: Secret to file took %s", name, took.Round(10*time.Millisecond))
			}
		}
	}
}

// refresh asks for another token, and says when it was in the Secret, and its ID.
func (n *node) refresh(t *testing.T, grant, request string) (time.Time, string) {
	t.Helper()
	key := client.ObjectKey{Namespace: "slow", Name: grant}
	id := func() string {
		var s corev1.Secret
		if err := n.Get(t.Context(), key, &s); err != nil {
			t.Fatal(err)
		}
		return tokenID(t, s.Data["access_token"])
	}
	before := id()
	g := &v1alpha1.TokenGrant{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.RefreshRequestedAnnotation, request)
	if err := n.Patch(t.Context(), g, client.RawPatch("application/merge-patch+json", patch)); err != nil {
		t.Fatal(err)
	}
	now := before
	await(t, "the refresh of "+grant, time.Minute, func() bool { now = id(); return now != before })
	return time.Now(), now
}

func tokenID(t *testing.T, token []byte) string {
	t.Helper()
	var c struct {
		JTI string `json:"jti"`
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(string(token), ".")[1])
	if err == nil {
		err = json.Unmarshal(payload, &c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c.JTI
}

// killLeader ends the leader's process as the kernel would: it cannot give the lease back.
func (n *node) killLeader(t *testing.T) {
	leader := holder(t, n)
	name, _, _ := strings.Cut(leader, "_")
	var pod corev1.Pod
	if err := n.Get(t.Context(), client.ObjectKey{Namespace: stack.OperatorNamespace, Name: name}, &pod); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := n.cluster.Kill(t.Context(), pod.Status.ContainerStatuses[0].ContainerID); err != nil {
		t.Fatal(err)
	}
	await(t, "another leader", 30*time.Second, func() bool { now := holder(t, n); return now != "" && now != leader })
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("taken over after %s, want 20 s at most", took)
	} else {
		t.Logf("taken over after %s", took.Round(10*time.Millisecond))
	}
}

// upgrade rolls the Deployment to other values. The CRDs are no longer to be kept after it.
func (n *node) upgrade(t *testing.T) {
	key := client.ObjectKey{Namespace: stack.OperatorNamespace, Name: "tokengrant-controller-manager"}
	n.runHelm(t, "upgrade", release, "charts/tokengrant", "--reuse-values", "--set=logLevel=debug,crds.keep=false")
	var d appsv1.Deployment
	if err := n.Get(t.Context(), key, &d); err != nil {
		t.Fatal(err)
	}
	if d.Generation < 2 || d.Status.UpdatedReplicas != 2 || d.Status.ReadyReplicas != 2 {
		t.Errorf("generation %d, %d replicas updated, %d ready", d.Generation, d.Status.UpdatedReplicas, d.Status.ReadyReplicas)
	}
	n.ready(t, "short", "token")
	n.ready(t, "apps", "files")
}

func (n *node) deleteNamespace(t *testing.T) {
	begin, ns := time.Now(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "slow"}}
	if err := n.Delete(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	await(t, "the end of the namespace", time.Minute, func() bool {
		return apierrors.IsNotFound(n.Get(t.Context(), client.ObjectKeyFromObject(ns), ns))
	})
	t.Logf("gone after %s", time.Since(begin).Round(10*time.Millisecond))
}

// neverExpired judges what the pod has read since the beginning, over several lives of tokens.
func (n *node) neverExpired(t *testing.T) {
	const lives = 4
	var all []seen
	await(t, "several lives of tokens", 3*time.Minute, func() bool {
		all = n.watched(t, "short", "reader")
		return len(all) > lives
	})
	reads, least := 0, time.Hour
	for _, s := range all {
		reads += s.Reads
		least = min(least, s.Expiry.Sub(s.Until))
		if !s.Until.Before(s.Expiry) {
			t.Errorf("token %s was read until %s, and expired at %s", s.ID, s.Until.Format(time.TimeOnly), s.Expiry.Format(time.TimeOnly))
		}
	}
	t.Logf("%d tokens in %s, read %d times; the least that was left of a life was %s",
		len(all), all[len(all)-1].Until.Sub(all[0].At).Round(time.Second), reads, least.Round(100*time.Millisecond))
	if gap := 500 * time.Millisecond; reads < int(all[len(all)-1].Until.Sub(all[0].At)/gap) {
		t.Errorf("%d reads are fewer than two a second", reads)
	}
}

func (n *node) uninstall(t *testing.T) {
	n.runHelm(t, "uninstall", release)
	ours := client.MatchingLabels{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue}
	var left corev1.SecretList
	await(t, "the end of all published Secrets", time.Minute, func() bool {
		if err := n.List(t.Context(), &left, ours); err != nil {
			t.Fatal(err)
		}
		return len(left.Items) == 0
	})
}
