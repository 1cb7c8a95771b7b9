package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/utils/clock"

	"github.com/tokengrant/tokengrant/internal/skew"
)

// compareWithin bounds how long the schema of a cluster is waited for.
const compareWithin = 10 * time.Second

// versions are what version prints.
type versions struct {
	Version string `json:"version"`
	// UnknownFields are those of the cluster's CRDs that this plugin does not know.
	UnknownFields []string `json:"unknownFields,omitempty"`
	// NotCompared says why the CRDs could not be compared.
	NotCompared string `json:"notCompared,omitempty"`
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this plugin, and whether the CRDs of the cluster are newer",
		Args:  cobra.NoArgs,
		RunE: a.runE(func(ctx context.Context, _ []string) error {
			v := versions{Version: version()}
			unknown, err := a.unknownFields(ctx)
			if v.UnknownFields = unknown; err != nil {
				v.NotCompared = err.Error()
			}
			return a.print(v, func() { a.showVersion(v) })
		}),
	}
}

func (a *app) showVersion(v versions) {
	printf(a.Out, "kubectl-tokengrant %s\n", v.Version)
	switch {
	case v.NotCompared != "":
		printf(a.Out, "The CRDs were not compared: %s\n", v.NotCompared)
	case len(v.UnknownFields) == 0:
		printf(a.Out, "It knows every field of the CRDs of this cluster.\n")
	default:
		printf(a.Out, "This plugin is older than the CRD. It does not know:\n")
		for _, f := range v.UnknownFields {
			printf(a.Out, "  %s\n", f)
		}
	}
}

// maxTold is how many fields a warning names. The command version names all.
const maxTold = 3

// warnIfOlder says before a result that it may be wrong. Where the schema cannot be read it says nothing.
func (a *app) warnIfOlder(ctx context.Context) {
	unknown, err := a.unknownFields(ctx)
	if err != nil || len(unknown) == 0 {
		return
	}
	more := ""
	if n := len(unknown) - maxTold; n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	printf(a.ErrOut, "warning: this plugin is older than the CRD: it does not know %s%s. Install the plugin of the operator's version.\n",
		strings.Join(unknown[:min(len(unknown), maxTold)], ", "), more)
}

func (a *app) compareCRDs(ctx context.Context) ([]string, error) {
	config, err := a.config()
	if err != nil {
		return nil, err
	}
	served, err := skew.NewServed(config, clock.RealClock{})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, compareWithin)
	defer cancel()
	if err := served.Refresh(ctx); err != nil {
		return nil, err
	}
	if !served.Compared() {
		return nil, fmt.Errorf("this cluster serves none: install them, or choose another --context")
	}
	return served.All(), nil
}
