package main

import (
	"flag"
	"fmt"
	"net/url"
	"os"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/tokengrant/tokengrant/controllers"
	"github.com/tokengrant/tokengrant/internal/offline"
)

// inClusterNamespace is where the kubelet tells a pod its namespace.
const inClusterNamespace = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

type options struct {
	leaderElect             bool
	leaderElectionNamespace string
	metricsAddress          string
	metricsSecure           bool
	probeAddress            string
	namespaceList           string
	namespaces              []string
	operatorNamespace       string
	allowHTTP               bool
	denyPrivate             bool
	concurrency             int
	encryptionKeys          offline.Keyring
	otlpEndpoint            string
	statusPage              bool
}

func defaultOptions() *options {
	return &options{leaderElect: true, metricsAddress: ":8443", metricsSecure: true, probeAddress: ":8081", concurrency: 32}
}

func (o *options) bind(fs *flag.FlagSet) {
	fs.BoolVar(&o.leaderElect, "leader-elect", o.leaderElect, "Let one of several replicas work; it gives the lease back when it stops.")
	fs.StringVar(&o.leaderElectionNamespace, "leader-election-namespace", "", "Namespace of the lease; --operator-namespace when empty.")
	fs.StringVar(&o.metricsAddress, "metrics-bind-address", o.metricsAddress, "Address of the metrics endpoint; 0 switches it off.")
	fs.BoolVar(&o.metricsSecure, "metrics-secure", o.metricsSecure, "Serve metrics by https to those who may get the nonResourceURL /metrics.")
	fs.StringVar(&o.probeAddress, "health-probe-bind-address", o.probeAddress, "Address of /healthz and /readyz.")
	fs.StringVar(&o.namespaceList, "namespaces", "", "Comma-separated namespaces to work in; all when empty.")
	fs.StringVar(&o.operatorNamespace, "operator-namespace", "", "Namespace of the Secrets and ConfigMaps of ClusterTokenIssuers; the pod's own when empty.")
	fs.BoolVar(&o.allowHTTP, "allow-http-issuers", false, "Let issuers and Nextclouds be plain http beyond loopback. Credentials then travel in the clear.")
	fs.BoolVar(&o.denyPrivate, "deny-private-addresses", false, "Refuse to connect to issuers and Nextclouds at private addresses. Link-local and cloud metadata addresses are always refused.")
	fs.StringVar(&o.encryptionKeys.File, "encryption-keys-file", "", "File with Fernet keys, one on each line: the first encrypts what is kept of users' sessions, all decrypt. It is read when it is needed.")
	fs.BoolVar(&o.statusPage, "status-page", false, "Serve a page of all grants at /status of the metrics endpoint, to those who may get that nonResourceURL.")
	fs.StringVar(&o.otlpEndpoint, "otlp-endpoint", "", "Send traces to this OTLP gRPC endpoint, as http://collector:4317; OTEL_ variables say the rest. No traces when empty.")
	fs.IntVar(&o.concurrency, "max-concurrent-reconciles", o.concurrency, "TokenGrants that are worked on at once.")
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
	if err := o.encryptionKeys.Check(); err != nil {
		return err
	}
	if u, err := url.Parse(o.otlpEndpoint); o.otlpEndpoint != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		return fmt.Errorf("--otlp-endpoint must be a URL as http://collector:4317, or https:// for TLS")
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
	return controllers.Options{
		OperatorNamespace: o.operatorNamespace,
		Namespaces:        o.namespaces,
		AllowHTTP:         o.allowHTTP,
		DenyPrivate:       o.denyPrivate,
		Concurrency:       o.concurrency,
		UserAgent:         "tokengrant/" + version(),
		EncryptionKeys:    o.encryptionKeys,
		StatusPage:        o.statusPage,
	}
}
