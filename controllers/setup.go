package controllers

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/trace"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/internal/cluster"
	"github.com/tokengrant/tokengrant/internal/httpclient"
	"github.com/tokengrant/tokengrant/internal/issuer"
	"github.com/tokengrant/tokengrant/internal/limit"
	"github.com/tokengrant/tokengrant/internal/metrics"
	"github.com/tokengrant/tokengrant/internal/offline"
	"github.com/tokengrant/tokengrant/internal/skew"
)

// Options say how the controllers work.
type Options struct {
	// OperatorNamespace holds the Secrets and ConfigMaps of ClusterTokenIssuers. When it is empty there are none: they are neither
	// read nor watched.
	OperatorNamespace string
	// Namespaces to work in; all when empty.
	Namespaces []string
	// AllowHTTP lets issuers and Nextclouds be plain http beyond loopback.
	AllowHTTP bool
	// DenyPrivate keeps issuers and Nextclouds from being at private addresses.
	DenyPrivate bool
	// AllowedHosts, when set, are the only issuers and Nextclouds that are connected to.
	AllowedHosts *httpclient.Hosts
	// Concurrency is the number of TokenGrants worked on at once.
	Concurrency int
	UserAgent   string
	// EncryptionKeys seal what is kept between two mints.
	EncryptionKeys offline.Keyring
	// ImportKeys decrypt users' refresh tokens from the stores of other software.
	ImportKeys offline.ImportKeys
	// AppPasswordOverlap is how long a replaced app password goes on working; plan.Overlap when 0.
	AppPasswordOverlap time.Duration
	// Metrics and Traces are told of what happens; either may be nil.
	Metrics *metrics.Recorder
	Traces  trace.TracerProvider
	// StatusPage is served beside the metrics.
	StatusPage bool
}

// Setup registers all controllers with a manager.
func Setup(ctx context.Context, mgr ctrl.Manager, o Options) error {
	metadata, err := metadataCache(mgr, o)
	if err != nil {
		return err
	}
	now := clock.RealClock{}
	issuers := &Issuers{
		Reader:            mgr.GetClient(),
		References:        NewReferences(metadata, mgr.GetAPIReader()),
		Registry:          issuer.NewRegistry(),
		OperatorNamespace: o.OperatorNamespace,
		Namespaces:        o.Namespaces,
		AllowHTTP:         o.AllowHTTP,
		DenyPrivate:       o.DenyPrivate,
		AllowedHosts:      o.AllowedHosts,
		UserAgent:         o.UserAgent,
		Clock:             now,
		recovery:          newRecovery(),
	}
	if issuers.UnknownFields, err = compareSchema(ctx, mgr, now); err != nil {
		return err
	}
	if err := tell(ctx, mgr, issuers, o); err != nil {
		return err
	}
	relabelled, err := namespaceLabels(mgr, issuers.References, now, o.Namespaces)
	if err != nil {
		return err
	}
	audiences, err := cluster.LearnAPIAudiences(ctx, mgr.GetConfig())
	if err != nil {
		return err
	}
	overdue := make(chan event.GenericEvent)
	grants := &GrantReconciler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Issuers: issuers, Clock: now,
		Keys: o.EncryptionKeys, Imports: o.ImportKeys, Recorder: mgr.GetEventRecorder("tokengrant"), Metrics: o.Metrics, Traces: o.Traces, Overlap: o.AppPasswordOverlap,
		APIAudiences: audiences, workers: newWorkers(o.Concurrency), outbound: limit.New(now, outboundLimits),
	}
	working := controller.Options{MaxConcurrentReconciles: o.Concurrency + outboundLimits.Slots, RateLimiter: backoff(), NewQueue: newFairQueue}
	if err := grants.SetupWithManager(ctx, mgr, metadata, relabelled, overdue, working); err != nil {
		return fmt.Errorf("setting up TokenGrants: %w", err)
	}
	if err := setupIssuers(mgr, issuers, metadata, o.Metrics); err != nil {
		return err
	}
	return mgr.Add(&Sweep{Reader: mgr.GetClient(), Clock: now, Overdue: overdue, Issuers: issuers})
}

// compareSchema compares the served schema with what this operator knows, at once and while it runs.
func compareSchema(ctx context.Context, mgr ctrl.Manager, now clock.WithTicker) (*unknownFields, error) {
	served, err := skew.NewServed(mgr.GetConfig(), now)
	if err != nil {
		return nil, fmt.Errorf("comparing the served schema: %w", err)
	}
	if err := served.Refresh(ctx); skew.Unreadable(err) {
		ctrl.LoggerFrom(ctx).Info("Cannot read the served schema: bind system:discovery to the operator. Unknown fields in elements of lists are not found", "cause", err.Error())
	} else if err != nil {
		return nil, fmt.Errorf("comparing the served schema: %w", err)
	}
	return newUnknownFields(mgr.GetAPIReader(), served), mgr.Add(served)
}

// setupIssuers registers the controllers of both kinds of issuers, which share the slots of discoveries.
func setupIssuers(mgr ctrl.Manager, issuers *Issuers, metadata cache.Cache, m *metrics.Recorder) error {
	discoveries := limit.New(issuers.Clock, discoveryLimits)
	kinds := []func() client.Object{func() client.Object { return &v1alpha1.TokenIssuer{} }}
	if issuers.shared() {
		kinds = append(kinds, func() client.Object { return &v1alpha1.ClusterTokenIssuer{} })
	}
	for _, create := range kinds {
		r := &IssuerReconciler{Client: mgr.GetClient(), Issuers: issuers, Clock: issuers.Clock, Metrics: m, New: create, discoveries: rates{of: plan.IssuerRate}, slots: discoveries}
		if err := r.SetupWithManager(mgr, metadata); err != nil {
			return fmt.Errorf("setting up %T: %w", create(), err)
		}
	}
	return nil
}

// maxBackoff bounds the pause before what has failed at the API server is tried again. The workqueue's own bound is a quarter
// of an hour, which is longer than most tokens live.
const maxBackoff = 30 * time.Second

func backoff() workqueue.TypedRateLimiter[ctrl.Request] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[ctrl.Request](5*time.Millisecond, maxBackoff)
}

// namespaceLabels brings the namespaces whose labels have changed to an operator of some namespaces, which may only get
// each of them; nil for one of all namespaces, which watches them.
func namespaceLabels(mgr ctrl.Manager, references *References, now clock.WithTicker, namespaces []string) (<-chan event.GenericEvent, error) {
	if len(namespaces) == 0 {
		return nil, nil
	}
	references.namespaces = mgr.GetAPIReader()
	changed := make(chan event.GenericEvent)
	return changed, mgr.Add(&NamespaceLabels{Live: mgr.GetAPIReader(), Namespaces: namespaces, Clock: now, Changed: changed})
}

// metadataCache is a second cache beside the manager's: of all Secrets and ConfigMaps, and of what else is referred to,
// but their metadata only. One cache cannot hold both our Secrets whole and all Secrets by their metadata.
func metadataCache(mgr ctrl.Manager, o Options) (cache.Cache, error) {
	namespaces := o.Namespaces
	if len(namespaces) > 0 && o.OperatorNamespace != "" {
		namespaces = append([]string{o.OperatorNamespace}, namespaces...)
	}
	c, err := cache.New(mgr.GetConfig(), cache.Options{
		HTTPClient:        mgr.GetHTTPClient(),
		Scheme:            mgr.GetScheme(),
		Mapper:            mgr.GetRESTMapper(),
		DefaultNamespaces: byNamespace(namespaces),
		DefaultTransform:  trim,
	})
	if err != nil {
		return nil, fmt.Errorf("building the cache of metadata: %w", err)
	}
	return c, mgr.Add(c)
}

func byNamespace(names []string) map[string]cache.Config {
	if len(names) == 0 {
		return nil
	}
	configs := map[string]cache.Config{}
	for _, n := range names {
		configs[n] = cache.Config{}
	}
	return configs
}
