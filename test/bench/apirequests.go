package main

import (
	"bufio"
	"context"
	"strconv"
	"strings"

	"k8s.io/client-go/kubernetes"
)

// apiRequests counts, from the API server's own metrics, the requests for Secrets and TokenGrants by verb.
type apiRequests map[string]int64

func (w *world) apiRequests(ctx context.Context) (apiRequests, error) {
	c, err := kubernetes.NewForConfig(w.plane.Config)
	if err != nil {
		return nil, err
	}
	text, err := c.RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return nil, err
	}
	found := apiRequests{}
	lines := bufio.NewScanner(strings.NewReader(string(text)))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if !strings.HasPrefix(line, "apiserver_request_total{") {
			continue
		}
		resource, verb := label(line, "resource"), label(line, "verb")
		if resource == "secrets" || resource == "tokengrants" {
			value, _ := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
			found[verb] += int64(value)
		}
	}
	return found, lines.Err()
}

func label(line, name string) string {
	_, rest, _ := strings.Cut(line, name+`="`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// since sums the requests of some verbs since another count.
func (a apiRequests) since(b apiRequests, verbs ...string) int64 {
	var sum int64
	for _, verb := range verbs {
		sum += a[verb] - b[verb]
	}
	return sum
}
