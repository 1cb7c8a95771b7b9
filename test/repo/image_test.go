package repo

import (
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"
)

// TestTheImageHoldsTheManagerOnly reads the last stage of the Dockerfile: a base without a shell, one program, no root.
func TestTheImageHoldsTheManagerOnly(t *testing.T) {
	var stage []string
	for line := range strings.Lines(read(t, "Dockerfile")) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "FROM ") {
			stage = nil
		}
		if line != "" && !strings.HasPrefix(line, "#") {
			stage = append(stage, line)
		}
	}
	want := []string{"FROM ${BASE}", "COPY --from=build /manager /manager", "USER 65532:65532", `ENTRYPOINT ["/manager"]`}
	if !slices.Equal(stage, want) {
		t.Errorf("the last stage is %q, want %q", stage, want)
	}
	if !strings.Contains(read(t, "Dockerfile"), "ARG BASE=gcr.io/distroless/static-debian12:nonroot\n") {
		t.Error("the base is not distroless/static")
	}
}

// TestThePodIsRestricted reads the Deployment. test/chart compares the chart's with it.
func TestThePodIsRestricted(t *testing.T) {
	var d appsv1.Deployment
	if err := yaml.Unmarshal([]byte(read(t, "config/manager/manager.yaml")), &d); err != nil {
		t.Fatal(err)
	}
	pod := d.Spec.Template.Spec
	if s := pod.SecurityContext; s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.SeccompProfile == nil || s.SeccompProfile.Type != "RuntimeDefault" {
		t.Errorf("the pod: %+v", pod.SecurityContext)
	}
	if pod.HostNetwork || pod.HostPID || pod.HostIPC || len(pod.Volumes) > 0 || len(pod.Containers) != 1 {
		t.Error("the pod has more than one container, volumes, or a namespace of the host")
	}
	c := pod.Containers[0]
	if s := c.SecurityContext; s == nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || s.ReadOnlyRootFilesystem == nil ||
		!*s.ReadOnlyRootFilesystem || s.Capabilities == nil || !slices.Contains(s.Capabilities.Drop, "ALL") || len(s.Capabilities.Add) > 0 {
		t.Errorf("the container: %+v", c.SecurityContext)
	}
	var ports []string
	for _, p := range c.Ports {
		ports = append(ports, p.Name)
	}
	if !slices.Equal(ports, []string{"metrics", "probes"}) {
		t.Errorf("ports %q", ports)
	}
}
