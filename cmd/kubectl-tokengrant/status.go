package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/command"
	"github.com/tokengrant/tokengrant/internal/diagnose"
)

func (a *app) statusCommand() *cobra.Command {
	all := false
	cmd := &cobra.Command{
		Use:   "status [NAME]",
		Short: "Show where in the line a grant stands, or all grants",
		Long: `Shows where in the line a grant stands: issuer, authenticate, mint, exchange, verify, check, publish, schedule;
of an app password: login, check, publish, schedule.
Without NAME: a table of all grants of the namespace. It ends with 1 when a grant is not Ready.`,
		Args: cobra.MaximumNArgs(1),
		RunE: a.runE(func(ctx context.Context, args []string) error {
			if len(args) == 1 && all {
				return usagef("--all-namespaces is for the table: leave out the name")
			}
			c, namespace, err := a.cluster()
			if err != nil {
				return err
			}
			a.warnIfOlder(ctx)
			if len(args) == 1 {
				return a.statusOfOne(ctx, c, client.ObjectKey{Namespace: namespace, Name: args[0]})
			}
			if all {
				namespace = ""
			}
			return a.statusOfAll(ctx, c, namespace)
		}),
	}
	cmd.Flags().BoolVarP(&all, "all-namespaces", "A", false, "show the grants of all namespaces")
	return cmd
}

// grantView is what status shows of one grant.
type grantView struct {
	Namespace   string                 `json:"namespace"`
	Name        string                 `json:"name"`
	Ready       metav1.ConditionStatus `json:"ready"`
	Reason      string                 `json:"reason"`
	Message     string                 `json:"message,omitempty"`
	StoppedAt   string                 `json:"stoppedAt,omitempty"`
	Stages      []stage                `json:"stages,omitempty"`
	Issuer      *issuerView            `json:"issuer,omitempty"`
	Token       *v1alpha1.TokenStatus  `json:"token,omitempty"`
	RefreshAt   *metav1.Time           `json:"refreshAt,omitempty"`
	LastAttempt *v1alpha1.Attempt      `json:"lastAttempt,omitempty"`
	Failures    int32                  `json:"consecutiveFailures,omitempty"`
	Nextcloud   *v1alpha1.CheckStatus  `json:"nextcloud,omitempty"`
	Secret      secretView             `json:"secret"`
}

type issuerView struct {
	Kind          string       `json:"kind"`
	Name          string       `json:"name"`
	URL           string       `json:"url,omitempty"`
	LastDiscovery *metav1.Time `json:"lastDiscovery,omitempty"`
}

type secretView struct {
	Name      string       `json:"name,omitempty"`
	CreatedAt *metav1.Time `json:"createdAt,omitempty"`
	Missing   bool         `json:"missing,omitempty"`
}

func viewOf(g *v1alpha1.TokenGrant) grantView {
	s := g.Status
	v := grantView{
		Namespace: g.Namespace, Name: g.Name, Ready: metav1.ConditionUnknown, Reason: v1alpha1.ReasonPending,
		Token: s.Token, RefreshAt: s.RefreshAt, LastAttempt: s.LastAttempt, Failures: s.ConsecutiveFailures, Nextcloud: s.Check,
		Secret: secretView{Name: s.SecretName},
	}
	if g.Spec.AppPassword == nil {
		v.Issuer = &issuerView{Kind: cmp.Or(g.Spec.IssuerRef.Kind, diagnose.KindTokenIssuer), Name: g.Spec.IssuerRef.Name}
	}
	if ready := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionReady); ready != nil {
		v.Ready, v.Reason, v.Message = ready.Status, ready.Reason, ready.Message
	}
	v.StoppedAt, _ = stoppedAt(g)
	return v
}

// lookUp adds what other objects say, as far as one may read them.
func (v *grantView) lookUp(ctx context.Context, c client.Client) error {
	if v.Issuer != nil {
		if err := v.lookUpIssuer(ctx, c); err != nil {
			return err
		}
	}
	if v.Secret.Name == "" {
		return nil
	}
	secret := metav1.PartialObjectMetadata{}
	secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	switch err := c.Get(ctx, client.ObjectKey{Namespace: v.Namespace, Name: v.Secret.Name}, &secret); {
	case err == nil:
		v.Secret.CreatedAt = &secret.CreationTimestamp
	case apierrors.IsNotFound(err):
		v.Secret.Missing = true
	case !apierrors.IsForbidden(err):
		return err
	}
	return nil
}

func (v *grantView) lookUpIssuer(ctx context.Context, c client.Client) error {
	var issuer v1alpha1.TokenIssuer
	var shared v1alpha1.ClusterTokenIssuer
	var err error
	if v.Issuer.Kind == diagnose.KindClusterTokenIssuer {
		err = c.Get(ctx, client.ObjectKey{Name: v.Issuer.Name}, &shared)
		issuer.Spec, issuer.Status = shared.Spec.TokenIssuerSpec, shared.Status
	} else {
		err = c.Get(ctx, client.ObjectKey{Namespace: v.Namespace, Name: v.Issuer.Name}, &issuer)
	}
	if err != nil && !apierrors.IsForbidden(err) && !apierrors.IsNotFound(err) {
		return err
	}
	v.Issuer.URL, v.Issuer.LastDiscovery = string(issuer.Spec.URL), issuer.Status.LastDiscovery
	return nil
}

func (a *app) statusOfOne(ctx context.Context, c client.Client, key client.ObjectKey) error {
	var g v1alpha1.TokenGrant
	if err := c.Get(ctx, key, &g); err != nil {
		return err
	}
	g.Default()
	v := viewOf(&g)
	if err := v.lookUp(ctx, c); err != nil {
		return err
	}
	now := a.now()
	v.Stages = v.stages(&g, now)
	if err := a.print(v, func() { a.showGrant(v, now) }); err != nil {
		return err
	}
	return broken(v.Ready != metav1.ConditionTrue)
}

func broken(is bool) error {
	if is {
		return errBroken
	}
	return nil
}

func (a *app) showGrant(v grantView, now time.Time) {
	printf(a.Out, "TokenGrant %s/%s: Ready=%s, %s\n", v.Namespace, v.Name, v.Ready, v.Reason)
	for _, s := range v.Stages {
		a.line(s.State, s.Name, s.Detail)
	}
	if l := v.LastAttempt; l != nil {
		times := ""
		if v.Failures > 1 {
			times = fmt.Sprintf(", %d failures in a row", v.Failures)
		}
		printf(a.Out, "  last attempt %s ago%s: %s\n", since(now, l.Time.Time), times, l.Reason)
	}
	if v.StoppedAt != "" {
		doctor, err := command.New("kubectl tokengrant doctor").Arg(v.Name).Flag("-n", v.Namespace).Text()
		if err == nil {
			printf(a.Out, "\nWhat to do about it: %s\n", doctor)
		}
	}
}

func (a *app) statusOfAll(ctx context.Context, c client.Client, namespace string) error {
	var list v1alpha1.TokenGrantList
	if err := c.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return err
	}
	views, bad := make([]grantView, len(list.Items)), false
	for i := range list.Items {
		views[i] = viewOf(&list.Items[i])
		bad = bad || views[i].Ready != metav1.ConditionTrue
	}
	err := a.print(map[string]any{"items": views}, func() { a.showTable(views, namespace) })
	if err != nil {
		return err
	}
	return broken(bad)
}

func (a *app) showTable(views []grantView, namespace string) {
	if len(views) == 0 {
		printf(a.ErrOut, "There are no TokenGrants here.\n")
		return
	}
	now := a.now()
	heads := []string{"NAME", "READY", "REASON", "STOPPED AT", "USER", "ISSUED", "REFRESH", "EXPIRES", "SECRET"}
	if namespace == "" {
		heads = append([]string{"NAMESPACE"}, heads...)
	}
	rows := [][]string{heads}
	for _, v := range views {
		user, issued, refresh, expires := "-", "-", "-", "-"
		if t := v.Token; t != nil {
			user, issued, expires = cmp.Or(t.Username, t.Subject, "-"), since(now, t.IssuedAt.Time)+" ago", "never"
			if !t.ExpiresAt.IsZero() {
				expires = until(now, t.ExpiresAt.Time)
			}
		}
		if v.RefreshAt != nil {
			refresh = until(now, v.RefreshAt.Time)
		}
		cells := []string{v.Name, string(v.Ready), v.Reason, cmp.Or(v.StoppedAt, "-"), user, issued, refresh, expires, cmp.Or(v.Secret.Name, "-")}
		if namespace == "" {
			cells = append([]string{v.Namespace}, cells...)
		}
		rows = append(rows, cells)
	}
	table(a.Out, rows)
}
