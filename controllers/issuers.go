package controllers

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/internal/httpclient"
	"github.com/tokengrant/tokengrant/internal/issuer"
	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// Kinds of issuers.
const (
	kindTokenIssuer        = "TokenIssuer"
	kindClusterTokenIssuer = "ClusterTokenIssuer"
	kindTokenGrant         = "TokenGrant"
)

// issuerView is a TokenIssuer or a ClusterTokenIssuer, as a grant sees it.
type issuerView struct {
	kind   string
	object client.Object
	spec   *v1alpha1.TokenIssuerSpec
	status *v1alpha1.IssuerStatus
	allow  []v1alpha1.AllowRule
	// namespace is where its Secrets and ConfigMaps are.
	namespace string
}

func (v issuerView) String() string { return fmt.Sprintf("%s %q", v.kind, v.object.GetName()) }

// Issuers resolves issuers and keeps their connections.
type Issuers struct {
	Reader            client.Reader
	References        *References
	Registry          *issuer.Registry
	OperatorNamespace string
	// Namespaces to work in; all when empty.
	Namespaces []string
	// AllowHTTP lets issuers and Nextclouds be plain http beyond loopback.
	AllowHTTP bool
	// DenyPrivate keeps issuers and Nextclouds from being at private addresses.
	DenyPrivate bool
	// AllowedHosts, when set, are the only ones that are connected to.
	AllowedHosts *httpclient.Hosts
	UserAgent    string
	Clock        clock.PassiveClock
	// UnknownFields may be nil: then only managedFields tell of them.
	UnknownFields *unknownFields
	recovery      *recovery
}

// resolve finds the issuer that a grant names.
func (i *Issuers) resolve(ctx context.Context, namespace string, ref v1alpha1.IssuerRef) (issuerView, error) {
	var view issuerView
	key := types.NamespacedName{Name: ref.Name}
	if ref.Kind == kindClusterTokenIssuer && !i.shared() {
		return view, failf(v1alpha1.ReasonIssuerNotFound, "this operator works without ClusterTokenIssuers (--cluster-issuers=false): name a TokenIssuer in spec.issuerRef, or ask the administrator of the operator")
	}
	if ref.Kind == kindClusterTokenIssuer {
		view = i.view(&v1alpha1.ClusterTokenIssuer{})
	} else {
		key.Namespace = namespace
		view = i.view(&v1alpha1.TokenIssuer{})
	}
	err := i.Reader.Get(ctx, key, view.object)
	if apierrors.IsNotFound(err) {
		where := ""
		if key.Namespace != "" {
			where = fmt.Sprintf(" in namespace %q", namespace)
		}
		return view, failf(v1alpha1.ReasonIssuerNotFound, "%s %q not found%s: create it, or correct spec.issuerRef", view.kind, ref.Name, where)
	}
	return i.view(view.object), err
}

// referringTo finds the issuers of both kinds that refer to a Secret or ConfigMap.
func (i *Issuers) referringTo(ctx context.Context, kind, namespace, name string) []issuerView {
	var views []issuerView
	ref := client.MatchingFields{refersTo: kind + "/" + name}
	if i.worksIn(namespace) {
		var list v1alpha1.TokenIssuerList
		if err := i.Reader.List(ctx, &list, client.InNamespace(namespace), ref, client.UnsafeDisableDeepCopy); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "Cannot list TokenIssuers")
		}
		for n := range list.Items {
			views = append(views, i.view(&list.Items[n]))
		}
	}
	if i.shared() && namespace == i.OperatorNamespace {
		var list v1alpha1.ClusterTokenIssuerList
		if err := i.Reader.List(ctx, &list, ref, client.UnsafeDisableDeepCopy); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "Cannot list ClusterTokenIssuers")
		}
		for n := range list.Items {
			views = append(views, i.view(&list.Items[n]))
		}
	}
	return views
}

// count is how many issuers a namespace has; those of the cluster are in "".
func (i *Issuers) count(ctx context.Context, namespace string) int {
	var list client.ObjectList = &v1alpha1.TokenIssuerList{}
	if namespace == "" && !i.shared() {
		return 0
	}
	if namespace == "" {
		list = &v1alpha1.ClusterTokenIssuerList{}
	}
	if err := i.Reader.List(ctx, list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Cannot list issuers")
	}
	return meta.LenList(list)
}

// forgetGone closes the connections of issuers that are gone: a reconcile that was under way when its issuer was deleted may
// have opened another.
func (i *Issuers) forgetGone(ctx context.Context) {
	connected := i.Registry.States() // before the list, so that none is missed there
	there, err := i.all(ctx)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Cannot list issuers")
		return
	}
	for _, view := range there {
		delete(connected, view.key())
	}
	for key := range connected {
		i.Registry.Forget(key)
	}
}

// shared says whether there are ClusterTokenIssuers.
func (i *Issuers) shared() bool { return i.OperatorNamespace != "" }

// worksIn says whether grants and issuers of a namespace are this operator's; "" stands for all namespaces.
func (i *Issuers) worksIn(namespace string) bool {
	return len(i.Namespaces) == 0 || namespace == "" || slices.Contains(i.Namespaces, namespace)
}

// view wraps an issuer of either kind.
func (i *Issuers) view(object client.Object) issuerView {
	switch o := object.(type) {
	case *v1alpha1.ClusterTokenIssuer:
		return issuerView{
			kind: kindClusterTokenIssuer, object: o, spec: o.Spec.WithDefaults(), status: &o.Status,
			allow: o.Spec.Allow, namespace: i.OperatorNamespace,
		}
	case *v1alpha1.TokenIssuer:
		return issuerView{kind: kindTokenIssuer, object: o, spec: o.Spec.WithDefaults(), status: &o.Status, namespace: o.Namespace}
	default:
		panic(fmt.Sprintf("%T is not an issuer", object))
	}
}

// connect gives the connection to an issuer, with its limits and authorities as they are now.
func (i *Issuers) connect(ctx context.Context, view issuerView) (*issuer.Issuer, error) {
	if err := i.checkURL("spec.url", string(view.spec.URL)); err != nil {
		return nil, err
	}
	authorities, err := i.authorities(ctx, view.namespace, view.spec.CARef)
	if err != nil {
		return nil, err
	}
	connection, err := i.Registry.Get(view.key(), issuer.Config{
		URL:               string(view.spec.URL),
		Hosts:             words(view.spec.EndpointHosts),
		RootCAs:           authorities,
		AllowHTTP:         i.AllowHTTP,
		DenyPrivate:       i.DenyPrivate,
		AllowedHosts:      i.AllowedHosts,
		RequestsPerSecond: float64(view.spec.Limits.RequestsPerSecond),
		Burst:             int(view.spec.Limits.Burst),
		Concurrency:       int(view.spec.Limits.Concurrency),
		Clock:             i.Clock,
		UserAgent:         i.UserAgent,
		OnStateChange:     i.changed(view),
	})
	if err != nil {
		return nil, failf(v1alpha1.ReasonInvalidSpec, "%s cannot be used: %v", view, err)
	}
	return connection, nil
}

func (i *Issuers) changed(view issuerView) func(issuer.StateChange) {
	if i.recovery == nil {
		return nil
	}
	return func(news issuer.StateChange) { i.recovery.changed(view, news) }
}

func (v issuerView) key() string {
	return fmt.Sprintf("%s/%s/%s/%s", v.kind, v.object.GetNamespace(), v.object.GetName(), v.object.GetUID())
}

// authorities reads a bundle of certificate authorities; nil without a reference.
func (i *Issuers) authorities(ctx context.Context, namespace string, ref *v1alpha1.CARef) ([]byte, error) {
	if ref == nil {
		return nil, nil
	}
	c, err := i.References.readUpTo(ctx, reference{ref.Kind, types.NamespacedName{Namespace: namespace, Name: ref.Name}, ref.Key}, sensitive.MaxAuthorities)
	if err != nil {
		return nil, err
	}
	return []byte(c.value.Reveal()), nil
}

// checkURL refuses plain http beyond loopback, and hosts that are not allowed. The CRD cannot: it does not know the operator's flags.
func (i *Issuers) checkURL(field, raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return failf(v1alpha1.ReasonInvalidSpec, "%s is not a URL", field)
	}
	if u.Scheme != "https" && !i.AllowHTTP && !isLoopback(u.Hostname()) {
		return failf(v1alpha1.ReasonInvalidSpec, "%s is plain http, and would send credentials in the clear: use https, or start the operator with --allow-http-issuers", field)
	}
	if i.AllowedHosts.Check(u.Hostname()) != nil {
		return failf(v1alpha1.ReasonInvalidSpec, "%s: host %q is not in the operator's --allowed-hosts: use a listed host, or ask an administrator to list it", field, u.Hostname())
	}
	return nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// ready says whether an issuer can serve grants: it has been discovered once, with the URL it has now. Whether it
// answers at the moment is for its circuit breaker to find out.
func (v issuerView) ready() error {
	condition := meta.FindStatusCondition(v.status.Conditions, v1alpha1.ConditionReady)
	switch {
	case condition == nil || condition.ObservedGeneration != v.object.GetGeneration():
		return failf(v1alpha1.ReasonPending, "%s is being discovered.", v)
	case v.status.LastDiscovery == nil:
		return failf(v1alpha1.ReasonIssuerNotReady, "%s is not ready: %s: %s", v, condition.Reason, condition.Message)
	}
	return nil
}
