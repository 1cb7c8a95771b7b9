package main

import (
	"context"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/internal/diagnose"
)

type doctorOptions struct {
	examined
	issuer, clusterIssuer string
}

func (a *app) doctorCommand() *cobra.Command {
	var o doctorOptions
	cmd := &cobra.Command{
		Use:   "doctor (NAME | --issuer NAME | --cluster-issuer NAME)",
		Short: "Find the first step that is broken, and the command that mends it",
		Long: `Sends what the operator would send, step by step, from this machine and with your own rights: discovery,
client authentication, mint, exchange, audience, verification, Nextcloud. It stops at the first step that is broken
and prints the Keycloak (kcadm.sh) or Nextcloud (occ) command that mends it. Nothing is written to the cluster.

It reads the Secret with the client's credential, for which you need the right to get it.`,
		Example: `  kubectl tokengrant doctor notes-sync -n apps
  kubectl tokengrant doctor --cluster-issuer keycloak`,
		Args: cobra.MaximumNArgs(1),
		RunE: a.runE(func(ctx context.Context, args []string) error { return a.doctor(ctx, args, o) }),
	}
	cmd.Flags().StringVar(&o.issuer, "issuer", "", "examine a TokenIssuer")
	cmd.Flags().StringVar(&o.clusterIssuer, "cluster-issuer", "", "examine a ClusterTokenIssuer")
	o.bind(cmd)
	return cmd
}

func (a *app) doctor(ctx context.Context, args []string, o doctorOptions) error {
	named := 0
	for _, name := range append(args, o.issuer, o.clusterIssuer) {
		if name != "" {
			named++
		}
	}
	if named != 1 {
		return usagef("name one TokenGrant, or --issuer, or --cluster-issuer")
	}
	c, namespace, err := a.cluster()
	if err != nil {
		return err
	}
	a.warnIfOlder(ctx)
	d, err := o.doctor(ctx, a, c)
	if err != nil {
		return err
	}
	var report *diagnose.Report
	switch {
	case o.issuer != "":
		report, err = d.Issuer(ctx, diagnose.KindTokenIssuer, namespace, o.issuer)
	case o.clusterIssuer != "":
		report, err = d.Issuer(ctx, diagnose.KindClusterTokenIssuer, "", o.clusterIssuer)
	default:
		report, err = d.Grant(ctx, namespace, args[0])
	}
	if err != nil {
		return err
	}
	if err := a.print(report, func() { a.showReport(report) }); err != nil {
		return err
	}
	if !report.Healthy {
		return errBroken
	}
	return nil
}

// cluster is the client, and the namespace to work in.
func (a *app) cluster() (client.Client, string, error) {
	namespace, err := a.namespace()
	if err != nil {
		return nil, "", err
	}
	c, err := a.connect()
	return c, namespace, err
}

func (a *app) showReport(r *diagnose.Report) {
	name := r.Name
	if r.Namespace != "" {
		name = r.Namespace + "/" + name
	}
	printf(a.Out, "%s %s\n", r.Kind, name)
	for _, s := range r.Steps {
		a.line(string(s.Result), s.Name, s.Message)
	}
	for _, part := range []struct {
		result diagnose.Result
		title  string
	}{
		{diagnose.Broken, "The first broken step is %s. To mend it:\n"},
		{diagnose.Unknown, "The step %s could not be tried from here. What helps:\n"},
		{diagnose.Warning, "About the warning at %s:\n"},
	} {
		s, found := r.First(part.result)
		if !found || len(s.Cure) == 0 {
			continue
		}
		printf(a.Out, "\n"+part.title+"\n", s.Name)
		for _, c := range s.Cure {
			printf(a.Out, "  %s\n", c)
		}
	}
}
