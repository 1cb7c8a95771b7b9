package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
)

type renewOptions struct {
	all  bool
	wait time.Duration
}

func (a *app) renewCommand() *cobra.Command {
	o := renewOptions{wait: 30 * time.Second}
	cmd := &cobra.Command{
		Use:   "renew (NAME... | --all)",
		Short: "Ask for new tokens now, and wait for them",
		Long: `Sets the annotation tokengrant.dev/refresh-requested to a new value and waits until the operator has answered.
The token that a Secret holds stays there until a new one is there.`,
		Example: `  kubectl tokengrant renew notes-sync -n apps
  kubectl tokengrant renew --all --wait=0s`,
		RunE: a.runE(func(ctx context.Context, args []string) error { return a.renew(ctx, args, o) }),
	}
	cmd.Flags().BoolVar(&o.all, "all", false, "renew all grants of the namespace")
	cmd.Flags().DurationVar(&o.wait, "wait", o.wait, "how long to wait for the operator's answer; 0s does not wait")
	return cmd
}

// The outcomes of a renewal.
const (
	renewed       = "Renewed"
	renewFailed   = "Failed"
	renewAsked    = "Requested"
	renewSilent   = "NoAnswer"
	renewUnlikely = "Waiting"
)

// renewal is what became of one request.
type renewal struct {
	Namespace string                `json:"namespace"`
	Name      string                `json:"name"`
	Outcome   string                `json:"outcome"`
	Reason    string                `json:"reason,omitempty"`
	Message   string                `json:"message"`
	Token     *v1alpha1.TokenStatus `json:"token,omitempty"`

	before v1alpha1.TokenGrantStatus
}

func (a *app) renew(ctx context.Context, names []string, o renewOptions) error {
	if o.all == (len(names) > 0) {
		return usagef("name the grants, or say --all")
	}
	c, namespace, err := a.cluster()
	if err != nil {
		return err
	}
	if o.all {
		var list v1alpha1.TokenGrantList
		if err := c.List(ctx, &list, client.InNamespace(namespace)); err != nil {
			return err
		}
		for i := range list.Items {
			names = append(names, list.Items[i].Name)
		}
	}
	results := make([]*renewal, 0, len(names))
	for _, name := range names {
		r, err := a.request(ctx, c, client.ObjectKey{Namespace: namespace, Name: name})
		if err != nil {
			return err
		}
		results = append(results, r)
	}
	if o.wait > 0 {
		limited, cancel := context.WithTimeout(ctx, o.wait)
		defer cancel()
		for _, r := range results {
			if err := a.await(limited, c, r, o.wait); err != nil {
				return err
			}
		}
	}
	bad := false
	for _, r := range results {
		bad = bad || r.Outcome != renewed && r.Outcome != renewAsked
	}
	if err := a.print(map[string]any{"items": results}, func() { a.showRenewals(results) }); err != nil {
		return err
	}
	return broken(bad)
}

// request sets the annotation.
func (a *app) request(ctx context.Context, c client.Client, key client.ObjectKey) (*renewal, error) {
	var g v1alpha1.TokenGrant
	if err := c.Get(ctx, key, &g); err != nil {
		return nil, err
	}
	r := &renewal{Namespace: g.Namespace, Name: g.Name, Outcome: renewAsked, Message: "a new " + thing(&g) + " is asked for", before: g.Status}
	patch := client.MergeFrom(g.DeepCopy())
	if g.Annotations == nil {
		g.Annotations = map[string]string{}
	}
	g.Annotations[v1alpha1.RefreshRequestedAnnotation] = a.now().UTC().Format(time.RFC3339Nano)
	return r, c.Patch(ctx, &g, patch)
}

// thing is what a grant publishes.
func thing(g *v1alpha1.TokenGrant) string {
	if g.Spec.AppPassword != nil {
		return "app password"
	}
	return "token"
}

const pollInterval = 250 * time.Millisecond

// await polls until the operator has answered one request, or the time is up.
func (a *app) await(ctx context.Context, c client.Client, r *renewal, limit time.Duration) error {
	err := wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (bool, error) {
		var g v1alpha1.TokenGrant
		if err := c.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: r.Name}, &g); err != nil {
			return false, err
		}
		return r.answered(&g, a.now()), nil
	})
	if errors.Is(err, context.DeadlineExceeded) {
		r.Outcome, r.Message = renewSilent, fmt.Sprintf("the operator did not answer within %s: does it run?", limit)
		return nil
	}
	return err
}

// answered judges by what has changed in the status since the request: the operator's clock may be another.
func (r *renewal) answered(g *v1alpha1.TokenGrant, now time.Time) bool {
	s := g.Status
	failing := s.ConsecutiveFailures > 0 && s.LastAttempt != nil
	switch {
	case s.Token != nil && (r.before.Token == nil || !s.Token.IssuedAt.Equal(&r.before.Token.IssuedAt)):
		r.Outcome, r.Reason, r.Token = renewed, v1alpha1.ReasonPublished, s.Token
		r.Message = "a new app password was published, the former one works for some minutes longer"
		if !s.Token.ExpiresAt.IsZero() {
			r.Message = "a new token was published, it expires " + until(now, s.Token.ExpiresAt.Time)
		}
	case failing && !equality.Semantic.DeepEqual(s.LastAttempt, r.before.LastAttempt):
		r.Outcome, r.Reason, r.Message = renewFailed, s.LastAttempt.Reason, s.LastAttempt.Message
	case g.Spec.Suspend:
		r.Outcome, r.Reason, r.Message = renewUnlikely, v1alpha1.ReasonSuspended, "spec.suspend is true: the request is kept until that ends"
	case failing && plan.HandlingOf(s.LastAttempt.Reason) == plan.Stalled:
		// Nothing is tried before the missing object comes, and nothing changes in the status.
		r.Outcome, r.Reason = renewUnlikely, s.LastAttempt.Reason
		r.Message = "nothing is tried before this is mended: " + s.LastAttempt.Message
	default:
		return false
	}
	return true
}

func (a *app) showRenewals(results []*renewal) {
	if len(results) == 0 {
		printf(a.ErrOut, "There are no TokenGrants here.\n")
	}
	for _, r := range results {
		state, reason := stateOK, ""
		switch r.Outcome {
		case renewFailed:
			state, reason = stateBroken, r.Reason+": "
		case renewSilent, renewUnlikely:
			state = stateWarning
		}
		a.line(state, r.Namespace+"/"+r.Name, reason+r.Message)
	}
}
