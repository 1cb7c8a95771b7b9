package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// secretText is what no log, event or status may hold: a JWT, a Fernet token, and the secrets and keys of the tests.
var secretText = regexp.MustCompile(`eyJ[\w-]{10,}|gAAAA[\w-]{20,}|(worker|visitor|offline|agent|receiver|sender|nextcloud-mcp-server)-secret\b|(alice|visitor)-password|` +
	regexp.QuoteMeta(firstKey) + "|" + regexp.QuoteMeta(secondKey))

// leaks reads what all operators of a run log.
type leaks struct {
	mu    sync.Mutex
	lines []string
}

func (l *leaks) Write(line []byte) (int, error) {
	if secretText.Match(line) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.lines = append(l.lines, "a log: "+string(line))
	}
	return len(line), nil
}

// found says where a secret stands: in the logs, or in the events and the statuses that the tests have left.
func (l *leaks) found(ctx context.Context, c client.Client) error {
	var grants v1alpha1.TokenGrantList
	var issuers v1alpha1.TokenIssuerList
	var shared v1alpha1.ClusterTokenIssuerList
	var events corev1.EventList
	for _, list := range []client.ObjectList{&grants, &issuers, &shared, &events} {
		if err := c.List(ctx, list); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := slices.Clone(l.lines)
	see := func(what, name string, said any) {
		text, err := json.Marshal(said)
		if err != nil || secretText.Match(text) {
			lines = append(lines, fmt.Sprintf("%s of %s: %s %v", what, name, text, err))
		}
	}
	for _, g := range grants.Items {
		see("the status", g.Name, g.Status)
	}
	for _, i := range issuers.Items {
		see("the status", i.Name, i.Status)
	}
	for _, i := range shared.Items {
		see("the status", i.Name, i.Status)
	}
	for _, e := range events.Items {
		see("an event", e.InvolvedObject.Name, e.Message)
	}
	if len(events.Items) == 0 && len(grants.Items) > 0 {
		lines = append(lines, "there are no events to look into")
	}
	if len(lines) > 0 {
		return fmt.Errorf("a secret was told:\n%s", strings.Join(lines, "\n"))
	}
	return nil
}
