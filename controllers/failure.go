package controllers

import (
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/controllers/plan"
	"github.com/tokengrant/tokengrant/keycloak"
)

// failure is an error with its Reason: what the status will say.
type failure struct {
	reason     v1alpha1.Reason
	message    string
	retryAfter time.Duration
}

func (f *failure) Error() string { return f.reason + ": " + f.message }

func failf(reason v1alpha1.Reason, format string, args ...any) *failure {
	return &failure{reason: reason, message: fmt.Sprintf(format, args...)}
}

// asFailure finds the failure in an error; other errors, of the API server or a cancelled context, are given back.
func asFailure(err error) (*failure, error) {
	var f *failure
	if errors.As(err, &f) {
		return f, nil
	}
	var k *keycloak.Error
	if errors.As(err, &k) {
		return &failure{reason: k.Reason, message: k.Error(), retryAfter: k.RetryAfter}, nil
	}
	return nil, err
}

func (f *failure) stalled() bool { return plan.HandlingOf(f.reason) == plan.Stalled }

func asAPIStatus(err error, status *apierrors.APIStatus) bool { return errors.As(err, status) }
