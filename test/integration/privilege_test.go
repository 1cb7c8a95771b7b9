package integration

import (
	"errors"
	"flag"
	"fmt"
	"os"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"github.com/tokengrant/tokengrant/test/audit"
)

// operatorName is the user as whom the operators of the tests run.
const operatorName = "tokengrant-manager"

// unused are permissions that a run of all tests need not use, and why the operator has them.
var unused = map[string]string{
	"configmaps list":                         listed,
	"secrets list":                            listed,
	"serviceaccounts list":                    listed,
	"tokengrant.dev/clustertokenissuers list": listed,
	"tokengrant.dev/tokenissuers list":        listed,
	"tokengrant.dev/tokengrants list":         listed,
	"namespaces list":                         listed,
	"namespaces watch":                        "an operator of all namespaces watches them, as that of test/observe; those of this package work in one",
	"tokengrant.dev/tokengrants/finalizers update": "the admission plugin OwnerReferencesPermissionEnforcement asks whether the operator has it. The API server of " +
		"the tests has the plugin, and would refuse every Secret; but a question is no request",
}

const listed = "API servers without streaming lists, before Kubernetes 1.34, are asked for a list before a watch"

// privileges fails when the operator may do what no test of the whole package has needed.
func privileges(log audit.Log) error {
	for _, selects := range []string{"test.run", "test.skip"} {
		if flag.Lookup(selects).Value.String() != "" {
			return nil // Some tests use some permissions.
		}
	}
	requests, err := log.Requests()
	if err != nil {
		return err
	}
	role, err := shippedRole()
	if err != nil {
		return err
	}
	if err := audit.Unexplained(role.Rules, requests, unused); err != nil {
		return fmt.Errorf("config/rbac/role.yaml:\n%w", err)
	}
	var errs []error
	for _, r := range audit.Refused(requests) {
		if r.Resource != "pods" { // TestPodsAreNudged shows the refusal.
			errs = append(errs, fmt.Errorf("the operator was refused %s: give it the permission, or do without", r))
		}
	}
	return errors.Join(errs...)
}

func shippedRole() (*rbacv1.ClusterRole, error) {
	raw, err := os.ReadFile("../../config/rbac/role.yaml")
	if err != nil {
		return nil, err
	}
	var role rbacv1.ClusterRole
	return &role, yaml.Unmarshal(raw, &role)
}
