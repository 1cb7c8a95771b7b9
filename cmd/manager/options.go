package main

import (
	"flag"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/tokengrant/tokengrant/controllers"
	"github.com/tokengrant/tokengrant/internal/httpclient"
	"github.com/tokengrant/tokengrant/internal/offline"
)

// inClusterNamespace is where the kubelet tells a pod its namespace.
const inClusterNamespace = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

type options struct {
	leaderElect             bool
	leaderElectionNamespace string
	leaseDuration           time.Duration
	renewDeadline           time.Duration
	retryPeriod             time.Duration
	grantSelector           string
	leaderElectionID        string
	selector                labels.Selector
	metricsAddress          string
	metricsSecure           bool
	probeAddress            string
	namespaceList           string
	namespaces              []string
	operatorNamespace       string
	clusterIssuers          bool
	allowHTTP               bool
	denyPrivate             bool
	allowedHostList         string
	allowedHosts            *httpclient.Hosts
	concurrency             int
	encryptionKeys          offline.Keyring
	importKeys              offline.ImportKeys
	otlpEndpoint            string
	statusPage              bool
	profiling               bool
}

func defaultOptions() *options {
	return &options{
		leaderElect: true, leaseDuration: 15 * time.Second, renewDeadline: 10 * time.Second, retryPeriod: 2 * time.Second,
		metricsAddress: ":8443", metricsSecure: true, probeAddress: ":8081", concurrency: 32,
	}
}

func (o *options) bind(fs *flag.FlagSet) {
	fs.BoolVar(&o.leaderElect, "leader-elect", o.leaderElect, "Let one of several replicas work; it gives the lease back when it stops.")
	fs.StringVar(&o.leaderElectionNamespace, "leader-election-namespace", "", "Namespace of the lease; --operator-namespace when empty.")
	fs.StringVar(&o.leaderElectionID, "leader-election-id", "leader.tokengrant.dev", "Name of the lease. Operators that work side by side, on other namespaces or grants, need leases of different names.")
	fs.DurationVar(&o.leaseDuration, "leader-elect-lease-duration", o.leaseDuration, "When another replica takes over from one that does not renew its lease.")
	fs.DurationVar(&o.renewDeadline, "leader-elect-renew-deadline", o.renewDeadline, "For how long a replica tries to renew a lease before it stops working.")
	fs.DurationVar(&o.retryPeriod, "leader-elect-retry-period", o.retryPeriod, "The pause between two looks at a lease.")
	fs.StringVar(&o.metricsAddress, "metrics-bind-address", o.metricsAddress, "Address of the metrics endpoint; 0 switches it off.")
	fs.BoolVar(&o.metricsSecure, "metrics-secure", o.metricsSecure, "Serve metrics by https to those who may get the nonResourceURL /metrics.")
	fs.StringVar(&o.probeAddress, "health-probe-bind-address", o.probeAddress, "Address of /healthz and /readyz.")
	fs.StringVar(&o.namespaceList, "watch-namespaces", "", "Comma-separated namespaces to work in; all when empty.")
	fs.StringVar(&o.grantSelector, "grant-selector", "", "Label selector of the TokenGrants to work on, as tenant-tier=gold or !tokengrant.dev/operator; all when empty.")
	fs.StringVar(&o.operatorNamespace, "operator-namespace", "", "Namespace of the Secrets and ConfigMaps of ClusterTokenIssuers; the pod's own when empty.")
	fs.BoolVar(&o.clusterIssuers, "cluster-issuers", true, "Work with ClusterTokenIssuers, which needs permissions for the whole cluster and for the operator's namespace.")
	fs.StringVar(&o.allowedHostList, "allowed-hosts", "", "Comma-separated names, addresses and CIDRs of issuers and Nextclouds: connect to no others. A name allows the names below it; a listed address may be private. All when empty.")
	fs.BoolVar(&o.allowHTTP, "allow-http-issuers", false, "Let issuers and Nextclouds be plain http beyond loopback. Credentials then travel in the clear.")
	fs.BoolVar(&o.denyPrivate, "deny-private-addresses", false, "Refuse to connect to issuers and Nextclouds at private addresses. Link-local and cloud metadata addresses are always refused.")
	fs.StringVar(&o.encryptionKeys.File, "encryption-keys-file", "", "File with keys, one on each line, each 32 bytes as URL-safe base64: the first encrypts what is kept of users' sessions, all decrypt. It is read when it is needed.")
	fs.StringVar(&o.importKeys.File, "import-keys-file", "", "File with the Fernet keys of other software's token stores, each on a line NAMESPACE KEY: they decrypt users' refresh tokens in Secrets of that namespace. It is read when it is needed.")
	fs.BoolVar(&o.statusPage, "status-page", false, "Serve a page of all grants at /status of the metrics endpoint, to those who may get that nonResourceURL.")
	fs.BoolVar(&o.profiling, "profiling", false, "Serve Go's profiles at /debug/pprof/ of the metrics endpoint, to those who may get these nonResourceURLs.")
	fs.StringVar(&o.otlpEndpoint, "otlp-endpoint", "", "Send traces to this OTLP gRPC endpoint, as http://collector:4317; OTEL_ variables say the rest. No traces when empty.")
	fs.IntVar(&o.concurrency, "max-concurrent-reconciles", o.concurrency, "TokenGrants that are worked on at once. Those that wait for an issuer or a Nextcloud do not count.")
}

// complete fills in what depends on other options and on the pod, and checks.
func (o *options) complete() error {
	if o.operatorNamespace == "" {
		own, err := os.ReadFile(inClusterNamespace)
		if err != nil {
			return fmt.Errorf("--operator-namespace is needed outside a cluster")
		}
		o.operatorNamespace = strings.TrimSpace(string(own))
	}
	for n := range strings.SplitSeq(o.namespaceList, ",") {
		if n = strings.TrimSpace(n); n != "" {
			o.namespaces = append(o.namespaces, n)
		}
	}
	for _, n := range append([]string{o.operatorNamespace}, o.namespaces...) {
		if problems := validation.IsDNS1123Label(n); len(problems) > 0 {
			return fmt.Errorf("%q is not a name of a namespace: %s", n, problems[0])
		}
	}
	var err error
	if o.selector, err = labels.Parse(o.grantSelector); err != nil {
		return fmt.Errorf("--grant-selector: %w", err)
	}
	if o.allowedHosts, err = httpclient.ParseHosts(o.allowedHostList); err != nil {
		return fmt.Errorf("--allowed-hosts: %w", err)
	}
	if err := o.encryptionKeys.Check(); err != nil {
		return err
	}
	o.importKeys.Sessions = o.encryptionKeys
	if err := o.importKeys.Check(); err != nil {
		return err
	}
	if u, err := url.Parse(o.otlpEndpoint); o.otlpEndpoint != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		return fmt.Errorf("--otlp-endpoint must be a URL as http://collector:4317, or https:// for TLS")
	}
	if o.profiling && !o.metricsSecure {
		return fmt.Errorf("--profiling needs --metrics-secure: profiles are not for everybody")
	}
	if o.concurrency < 1 {
		return fmt.Errorf("--max-concurrent-reconciles must be at least 1")
	}
	return nil
}

func (o *options) leaderNamespace() string {
	if o.leaderElectionNamespace != "" {
		return o.leaderElectionNamespace
	}
	return o.operatorNamespace
}

func (o *options) controllers() controllers.Options {
	referred := o.operatorNamespace
	if !o.clusterIssuers {
		referred = ""
	}
	return controllers.Options{
		OperatorNamespace: referred,
		Namespaces:        o.namespaces,
		AllowHTTP:         o.allowHTTP,
		DenyPrivate:       o.denyPrivate,
		AllowedHosts:      o.allowedHosts,
		Concurrency:       o.concurrency,
		UserAgent:         "tokengrant/" + version(),
		EncryptionKeys:    o.encryptionKeys,
		ImportKeys:        o.importKeys,
		StatusPage:        o.statusPage,
	}
}
