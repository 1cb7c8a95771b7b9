// Command manager runs the controllers of TokenGrant.
package main

import (
	"crypto/tls"
	"flag"
	"fmt"
	"os"
	"runtime/debug"

	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // kubeconfigs with exec and cloud credentials
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers"
	"github.com/tokengrant/tokengrant/internal/logging"
)

func main() {
	withoutCore()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "manager:", err)
		os.Exit(1)
	}
}

func run() error {
	o := defaultOptions()
	o.bind(flag.CommandLine)
	logFlags := zap.Options{}
	logFlags.BindFlags(flag.CommandLine)
	flag.Parse()
	if err := o.complete(); err != nil {
		return err
	}
	ctrl.SetLogger(logging.New(zap.UseFlagOptions(&logFlags)))

	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("finding the API server: %w", err)
	}
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	mgr, err := ctrl.NewManager(config, o.manager(scheme))
	if err != nil {
		return fmt.Errorf("building the manager: %w", err)
	}
	ctx := ctrl.SetupSignalHandler()
	if os.Getenv("GOGC") == "" {
		defer thrifty()()
	}
	setup := o.controllers()
	stop, err := o.observe(ctx, &setup)
	if err != nil {
		return err
	}
	defer stop()
	if err := controllers.Setup(ctx, mgr, setup); err != nil {
		return err
	}
	if err := mgr.AddHealthzCheck("healthz", healthz.Ping); err != nil {
		return err
	}
	if err := mgr.AddReadyzCheck("readyz", healthz.Ping); err != nil {
		return err
	}
	ctrl.Log.Info("Starting", "version", version(), "namespaces", o.namespaces, "grants", o.selector.String(), "operatorNamespace", o.operatorNamespace)
	return mgr.Start(ctx)
}

// manager gives the options of controller-runtime's manager.
func (o *options) manager(scheme *runtime.Scheme) ctrl.Options {
	metrics := metricsserver.Options{BindAddress: o.metricsAddress, SecureServing: o.metricsSecure, TLSOpts: []func(*tls.Config){minTLS}}
	if o.metricsSecure {
		metrics.FilterProvider = filters.WithAuthenticationAndAuthorization
	}
	if o.profiling {
		metrics.ExtraHandlers = profiles()
	}
	return ctrl.Options{
		Scheme:                        scheme,
		Cache:                         controllers.CacheOptions(o.namespaces, o.selector),
		Metrics:                       metrics,
		HealthProbeBindAddress:        o.probeAddress,
		LeaderElection:                o.leaderElect,
		LeaderElectionID:              o.leaderElectionID,
		LeaderElectionNamespace:       o.leaderNamespace(),
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 &o.leaseDuration,
		RenewDeadline:                 &o.renewDeadline,
		RetryPeriod:                   &o.retryPeriod,
	}
}

func minTLS(c *tls.Config) { c.MinVersion = tls.VersionTLS12 }

// release is set by the linker where the build has no version of the module, as in the image.
var release string

func version() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return info.Main.Version
}
