package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/cluster"
)

// The exit codes.
const (
	exitGood   = 0
	exitBroken = 1
	exitUsage  = 2
)

// errBroken ends a command whose output has said what is broken.
var errBroken = errors.New("broken")

// usageError is a command line that makes no sense.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// advised is an error with a line of its own that says what to do.
type advised struct {
	error
	advice string
}

func (e advised) Unwrap() error { return e.error }

// app is what the commands share.
type app struct {
	genericiooptions.IOStreams
	flags  *genericclioptions.ConfigFlags
	output string
	style  style
	now    func() time.Time
	// connect is replaced in tests.
	connect func() (client.Client, error)
	// apiAudiences is replaced in tests.
	apiAudiences func(ctx context.Context) (cluster.APIAudiences, error)
	// unknownFields are those of the CRDs that this plugin does not know. It is replaced in tests.
	unknownFields func(ctx context.Context) ([]string, error)
	started       bool
}

func newApp() *app {
	a := &app{
		IOStreams: genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr},
		flags:     genericclioptions.NewConfigFlags(true),
		style:     styleOf(os.Stdout, os.LookupEnv),
		now:       time.Now,
	}
	a.connect, a.apiAudiences, a.unknownFields = a.dial, a.learnAPIAudiences, a.compareCRDs
	return a
}

// run returns the exit code.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.command() //nolint:contextcheck // the commands take their context from cobra
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var wrong usageError
	switch {
	case err == nil:
		return exitGood
	case errors.Is(err, errBroken):
		return exitBroken
	case !a.started, errors.As(err, &wrong):
		_, _ = io.WriteString(a.ErrOut, lines("error: "+err.Error()+"\nSee 'kubectl tokengrant --help'.\n"))
		return exitUsage
	}
	printf(a.ErrOut, "error: %s\n", explain(err))
	if advice, is := errors.AsType[advised](err); is {
		printf(a.ErrOut, "%s\n", advice.advice)
	}
	return exitBroken
}

// explain adds what to do to the errors of the API server that say it least well.
func explain(err error) error {
	if apierrors.IsNotFound(err) {
		if status := apierrors.APIStatus(nil); errors.As(err, &status) && (status.Status().Details == nil || status.Status().Details.Name == "") {
			return errors.New("this cluster does not know TokenGrants: install the CRDs, or choose another --context")
		}
	}
	return err
}

func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "kubectl-tokengrant",
		Short: "Look at TokenGrants, renew their tokens, and find out why there is none",
		Annotations: map[string]string{
			cobra.CommandDisplayNameAnnotation: "kubectl tokengrant",
		},
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true, // run prints them
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if !slices.Contains([]string{"", "json", "yaml"}, a.output) {
				return usagef("--output must be json or yaml, not %q", a.output)
			}
			return nil
		},
	}
	a.flags.AddFlags(root.PersistentFlags())
	root.PersistentFlags().StringVarP(&a.output, "output", "o", "", "json or yaml; text for people when empty")
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.ErrOut)
	root.AddCommand(a.statusCommand(), a.inspectCommand(), a.renewCommand(), a.doctorCommand(), a.renderCommand(), a.loginCommand(), a.versionCommand())
	return root
}

// runE marks that the command line was understood: what fails from here on is no usage error by itself.
func (a *app) runE(run func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		a.started = true
		return run(cmd.Context(), args)
	}
}

func scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			panic(err) // two kinds of one name: cannot happen to a program that was tested
		}
	}
	return s
}

func (a *app) config() (*rest.Config, error) {
	config, err := a.flags.ToRESTConfig()
	if err != nil {
		return nil, err
	}
	config.UserAgent = "kubectl-tokengrant/" + version()
	config.WarningHandler = rest.NewWarningWriter(warnings{a.ErrOut}, rest.WarningWriterOptions{Deduplicate: true})
	return config, nil
}

func (a *app) dial() (client.Client, error) {
	config, err := a.config()
	if err != nil {
		return nil, err
	}
	return client.New(config, client.Options{Scheme: scheme()})
}

func (a *app) learnAPIAudiences(ctx context.Context) (cluster.APIAudiences, error) {
	config, err := a.config()
	if err != nil {
		return nil, err
	}
	return cluster.LearnAPIAudiences(ctx, config)
}

// warnings writes lines of the API server.
type warnings struct{ io.Writer }

func (w warnings) Write(text []byte) (int, error) {
	_, err := io.WriteString(w.Writer, lines(string(text)))
	return len(text), err
}

// namespace is the one of the command line, else the one of the context.
func (a *app) namespace() (string, error) {
	namespace, _, err := a.flags.ToRawKubeConfigLoader().Namespace()
	return namespace, err
}

// release is set by the linker where the build has no version of the module.
var release string

func version() string {
	if release != "" {
		return release
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "unknown"
}
