package stack

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
)

// answers reports whether a GET of the URL ends with status 200.
func answers(ctx context.Context, client *http.Client, target string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", target, response.Status)
	}
	return nil
}

func splitURL(raw string) (host, port string, err error) {
	parsed, err := url.Parse(raw)
	if err != nil {
		return "", "", err
	}
	return net.SplitHostPort(parsed.Host)
}
