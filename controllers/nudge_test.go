package controllers

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestMounts(t *testing.T) {
	secret := corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "token"}}
	projected := func(sources ...corev1.VolumeProjection) corev1.VolumeSource {
		return corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: sources}}
	}
	named := func(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }
	for name, test := range map[string]struct {
		volumes []corev1.VolumeSource
		want    bool
	}{
		"no volume":                       {nil, false},
		"the Secret":                      {[]corev1.VolumeSource{{}, secret}, true},
		"another Secret":                  {[]corev1.VolumeSource{{Secret: &corev1.SecretVolumeSource{SecretName: "other"}}}, false},
		"the Secret among what is joined": {[]corev1.VolumeSource{projected(corev1.VolumeProjection{}, corev1.VolumeProjection{Secret: &corev1.SecretProjection{LocalObjectReference: named("token")}})}, true},
		"a ConfigMap of the same name":    {[]corev1.VolumeSource{projected(corev1.VolumeProjection{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: named("token")}}), {ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: named("token")}}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var pod corev1.Pod
			for _, source := range test.volumes {
				pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{VolumeSource: source})
			}
			if got := mounts(&pod, "token"); got != test.want {
				t.Errorf("mounts: %t, want %t", got, test.want)
			}
		})
	}
}
