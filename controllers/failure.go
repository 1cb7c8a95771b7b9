package controllers

import (
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/internal/issuer"
	"github.com/tokengrant/tokengrant/keycloak"
)

// failure is an error with its Reason: what the status will say.
type failure struct {
	reason     v1alpha1.Reason
	message    string
	retryAfter time.Duration
	// notAsked says that the issuer was not even asked, because it is believed to be down.
	notAsked bool
	// deferred says that nobody was asked, because of our own limits. It is no failure of the grant.
	deferred bool
}

// Outcome is the reason, for metrics and traces.
func (f *failure) Outcome() string { return f.reason }

func (f *failure) Error() string { return f.reason + ": " + f.message }

func failf(reason v1alpha1.Reason, format string, args ...any) *failure {
	return &failure{reason: reason, message: fmt.Sprintf(format, args...)}
}

// asFailure finds the failure in an error; other errors, of the API server or a cancelled context, are given back.
func asFailure(err error) (*failure, error) {
	if f, ok := errors.AsType[*failure](err); ok {
		return f, nil
	}
	if k, ok := errors.AsType[*keycloak.Error](err); ok {
		return &failure{reason: k.Reason, message: k.Error(), retryAfter: k.RetryAfter, notAsked: issuer.NotAsked(err)}, nil
	}
	return nil, err
}

// isDeferred reports whether an error says that nobody was asked because of our own limits.
func isDeferred(err error) bool {
	f, ok := errors.AsType[*failure](err)
	return ok && f.deferred
}

func (f *failure) stalled() bool { return plan.HandlingOf(f.reason) == plan.Stalled }

// conflictPause lets the cache catch up with what the API server has.
const conflictPause = 100 * time.Millisecond

// conflicting passes over an object that is gone, and waits for the cache where it is not what the API server has.
func conflicting(err error) (ctrl.Result, error) {
	if apierrors.IsConflict(err) {
		return ctrl.Result{RequeueAfter: conflictPause}, nil
	}
	return ctrl.Result{}, client.IgnoreNotFound(err)
}
