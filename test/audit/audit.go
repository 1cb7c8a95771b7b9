// Package audit compares what users of an API server may do with what they did, as its audit log tells it. So a test
// names each permission of the operator that nothing needs.
package audit

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"sigs.k8s.io/yaml"
)

// Log is the file in which an API server writes which requests some users made: who, what and how it was answered,
// never what was sent.
type Log struct{ file, policy string }

// NewLog prepares a log of these users' requests in a folder.
func NewLog(folder string, users ...string) (Log, error) {
	l := Log{filepath.Join(folder, "audit.log"), filepath.Join(folder, "audit-policy.yaml")}
	policy := auditv1.Policy{
		OmitStages: []auditv1.Stage{auditv1.StageRequestReceived},
		Rules:      []auditv1.PolicyRule{{Level: auditv1.LevelMetadata, Users: users}, {Level: auditv1.LevelNone}},
	}
	policy.APIVersion, policy.Kind = auditv1.SchemeGroupVersion.String(), "Policy"
	content, err := yaml.Marshal(policy)
	if err != nil {
		return Log{}, err
	}
	return l, os.WriteFile(l.policy, content, 0o600)
}

// Flags make a kube-apiserver write the log.
func (l Log) Flags() []string {
	return []string{"--audit-policy-file=" + l.policy, "--audit-log-path=" + l.file}
}

// Request is one kind of request to objects. Allowed says that RBAC let it through, whatever became of it then.
type Request struct {
	Group, Resource, Verb, Namespace, Name string
	Allowed                                bool
}

func (r Request) String() string {
	return fmt.Sprintf("%s, named %q in namespace %q", permission(r.Group, r.Resource, r.Verb), r.Name, r.Namespace)
}

// permission is how this package names one: "secrets create", "tokengrant.dev/tokengrants/status patch".
func permission(group, resource, verb string) string {
	if group != "" {
		resource = group + "/" + resource
	}
	return resource + " " + verb
}

// Requests reads the log, each kind of request once.
func (l Log) Requests() ([]Request, error) {
	f, err := os.Open(l.file)
	if err != nil {
		return nil, fmt.Errorf("the audit log: %w", err)
	}
	defer func() { _ = f.Close() }()
	return parse(f)
}

func parse(log io.Reader) ([]Request, error) {
	seen := map[Request]bool{}
	var requests []Request
	lines := bufio.NewReader(log)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return requests, nil // What follows the last line's end is still being written.
		}
		if err != nil {
			return nil, err
		}
		var event auditv1.Event
		if err := json.Unmarshal(line, &event); err != nil {
			return nil, fmt.Errorf("the audit log: %w: %s", err, line)
		}
		o := event.ObjectRef
		if o == nil { // Discovery and the like: every user may.
			continue
		}
		r := Request{o.APIGroup, o.Resource, event.Verb, o.Namespace, o.Name, event.Annotations["authorization.k8s.io/decision"] == "allow"}
		if o.Subresource != "" {
			r.Resource += "/" + o.Subresource
		}
		if !seen[r] {
			seen[r] = true
			requests = append(requests, r)
		}
	}
}

// Surplus names what rules allow and no request has needed, as "tokengrant.dev/tokengrants patch".
func Surplus(rules []rbacv1.PolicyRule, requests []Request) []string {
	var surplus []string
	for _, rule := range rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					needs := func(r Request) bool {
						return r.Allowed && r.Group == group && r.Resource == resource && r.Verb == verb &&
							(len(rule.ResourceNames) == 0 || slices.Contains(rule.ResourceNames, r.Name))
					}
					if !slices.ContainsFunc(requests, needs) {
						surplus = append(surplus, permission(group, resource, verb))
					}
				}
			}
		}
	}
	slices.Sort(surplus)
	return slices.Compact(surplus)
}

// Refused are the requests that RBAC did not let through.
func Refused(requests []Request) []Request {
	return slices.DeleteFunc(slices.Clone(requests), func(r Request) bool { return r.Allowed })
}

// Unexplained says what is wrong with roles: a permission that nothing needed and that has no reason to be there, and a
// reason for one that does not exist. The reasons are by permission.
func Unexplained(rules []rbacv1.PolicyRule, requests []Request, reasons map[string]string) error {
	var errs []error
	for _, p := range Surplus(rules, requests) {
		if reasons[p] == "" {
			errs = append(errs, fmt.Errorf("the operator may %q and never did: take the permission away, or say why it is needed", p))
		}
	}
	given := Surplus(rules, nil) // Without a request everything is.
	for p := range reasons {
		if !slices.Contains(given, p) {
			errs = append(errs, fmt.Errorf("%q is explained, and no role gives it: take the reason away", p))
		}
	}
	if len(requests) == 0 {
		errs = append(errs, errors.New("the audit log tells of no request: is it the right user's?"))
	}
	return errors.Join(errs...)
}
