package recipes

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/tokengrant/tokengrant/hack/stack"
)

// container is one of a page's pod, on this machine: its mounts are directories here.
type container struct {
	corev1.Container
	world *world
	paths []string // what pods see, what is here, in turns
	dirs  map[string]string
}

// container prepares the one of that name. The Secret's mount is v, others are empty directories or the page's ConfigMaps.
func (v *volume) container(name string) container {
	v.w.t.Helper()
	for _, c := range v.page.containers() {
		if c.Name != name {
			continue
		}
		here := container{Container: c, world: v.w, dirs: map[string]string{}}
		for _, m := range c.VolumeMounts {
			dir := v.w.t.TempDir()
			if v.page.volume(v.w.t, m).Secret != nil {
				dir = v.dir
			}
			here.dirs[m.MountPath] = dir
			here.paths = append(here.paths, m.MountPath, dir)
		}
		return here
	}
	v.w.t.Fatalf("%s has no container %s", v.page.name, name)
	return container{}
}

// command is what the container runs, with the programs of this machine and no environment but the pod's.
func (c container) command() *exec.Cmd {
	c.world.t.Helper()
	words := append(append([]string{}, c.Command...), c.Args...)
	for i := range words {
		words[i] = strings.NewReplacer(c.paths...).Replace(words[i])
	}
	words[0] = program(c.world.t, words[0])
	cmd := exec.CommandContext(c.world.t.Context(), words[0], words[1:]...)
	cmd.Dir = c.world.t.TempDir()
	// Programs that a script calls are found where program finds them.
	cmd.Env = []string{"PATH=" + tools + ":" + os.Getenv("PATH"), "HOME=" + cmd.Dir}
	for _, e := range c.Env {
		cmd.Env = append(cmd.Env, e.Name+"="+e.Value)
	}
	return cmd
}

// run returns what the container prints. It must succeed.
func (c container) run() string {
	c.world.t.Helper()
	output, err := c.try()
	if err != nil {
		c.world.t.Fatalf("%s: %v\n%s", c.Name, err, output)
	}
	return output
}

func (c container) try() (string, error) {
	var output bytes.Buffer
	cmd := c.command()
	cmd.Stdout, cmd.Stderr = &output, &output
	err := cmd.Run()
	return output.String(), err
}

// tools is a directory with rclone and envoy.
var tools string

func TestMain(m *testing.M) {
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	var err error
	if tools, err = os.MkdirTemp("", "recipes-"); err != nil {
		panic(err)
	}
	defer os.RemoveAll(tools)
	for _, find := range []func(context.Context) (string, error){stack.Rclone, stack.Envoy} {
		path, err := find(context.Background())
		if err == nil {
			err = os.Symlink(path, filepath.Join(tools, filepath.Base(path)))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}

// program finds a program that a pod has in its image.
func program(t *testing.T, name string) string {
	t.Helper()
	if path, err := exec.LookPath(filepath.Join(tools, name)); err == nil {
		return path
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%v: the tests of docs/recipes need it (Debian: apt-get install curl python3 python3-venv)", err)
	}
	return path
}
