package stack

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
)

// helms are the modules that pin Helm, by major version. Helm 4 is built from the sources of the same Kubernetes as
// the control plane; Helm 3 needs older ones, so it has a module of its own.
var helms = map[int]struct{ module, pkg string }{
	3: {"helm3", "helm.sh/helm/v3"},
	4: {"kubernetes", "helm.sh/helm/v4"},
}

// Helm returns the path of Helm 3 or 4, built at the first use (a minute) and kept in CacheDir.
func Helm(ctx context.Context, major int) (string, error) {
	helm, known := helms[major]
	if !known {
		return "", fmt.Errorf("there is no Helm %d here", major)
	}
	dir, err := built(ctx, helm.module, fmt.Sprintf("helm%d", major), func(ctx context.Context, module, out string) error {
		return buildHelm(ctx, module, helm.pkg, out)
	})
	if err != nil {
		return "", fmt.Errorf("building Helm %d from hack/%s: %w", major, helm.module, err)
	}
	return filepath.Join(dir, "helm"), nil
}

func buildHelm(ctx context.Context, module, pkg, out string) error {
	version, err := requiredVersion(ctx, module, pkg)
	if err != nil {
		return err
	}
	client, err := requiredVersion(ctx, module, "k8s.io/client-go")
	if err != nil {
		return err
	}
	// Helm 3 takes the Kubernetes that it renders for without a cluster from the linker; Helm 4 finds it by itself.
	minor := strings.Split(client, ".")[1]
	rendersFor := pkg + "/pkg/chartutil.k8sVersion"
	flags := "-s -w -X " + pkg + "/internal/version.version=" + version + " -X " + rendersFor + "Major=1 -X " + rendersFor + "Minor=" + minor
	Sayf(ctx, "building Helm %s from Go modules (a minute, once)", version)
	elapsed := took(ctx)
	cmd := goCommand(ctx, module, "build", "-mod=readonly", "-trimpath",
		"-ldflags", flags, "-o", filepath.Join(out, "helm"), pkg+"/cmd/helm")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, output)
	}
	Sayf(ctx, "built in %s", elapsed())
	return nil
}
