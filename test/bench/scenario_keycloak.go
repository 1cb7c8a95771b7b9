package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tokengrant/tokengrant/hack/stack"
	"github.com/tokengrant/tokengrant/keycloak/realm"
)

const (
	// keycloakWarm is for how long the JVM is warmed up; keycloakFloor for how long its own rate is measured.
	keycloakWarm, keycloakFloor = 15 * time.Second, 10 * time.Second
	keycloakClient              = "notes-sync"
)

// realKeycloak compares the rate of first tokens at a real Keycloak with the rate at which it exchanges for a bare loop
// with as many connections, on the same machine.
func realKeycloak(ctx context.Context, w *world, o options, t *table) (err error) {
	kc, err := stack.StartKeycloak(ctx, stack.KeycloakOptions{Realms: [][]byte{realm.Export}, Fast: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kc.Close()) }()
	issuer := kc.Issuer("tokengrant")
	if _, err := exchanges(ctx, issuer, keycloakWarm); err != nil {
		return err
	}
	alone, err := exchanges(ctx, issuer, keycloakFloor)
	if err != nil {
		return err
	}
	if _, err := w.manager(ctx); err != nil {
		return err
	}
	if err := w.namespaceAt(ctx, "keycloak", issuer, keycloakClient+"-secret", noLimit); err != nil {
		return err
	}
	begin := time.Now()
	group, applying := errgroup.WithContext(ctx)
	group.SetLimit(applyAtOnce)
	for i := range o.n {
		group.Go(func() error { return w.client.Create(applying, grantOf("keycloak", i, "", keycloakClient)) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := settle(ctx, "grants Ready", 10*time.Minute, func() bool { return w.seen.readyIn("keycloak") == o.n }); err != nil {
		return err
	}
	rate := float64(o.n) / time.Since(begin).Seconds()
	t.add("exchanges a second of a bare loop with 16 connections, and nothing else on the machine", fmt.Sprintf("%.0f", alone))
	t.add("grants Ready a second, API server and etcd on the same cores", fmt.Sprintf("%.0f", rate))
	t.add("ratio", fmt.Sprintf("%.2f", rate/alone))
	return nil
}

// exchanges gives how many exchanges a second an issuer does.
func exchanges(ctx context.Context, issuer string, during time.Duration) (float64, error) {
	hc := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: issuerConcurrency}}
	subject, err := ask(ctx, hc, issuer, url.Values{"grant_type": {"client_credentials"}})
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	done := make([]int, issuerConcurrency)
	group, ctx := errgroup.WithContext(ctx)
	for i := range done {
		group.Go(func() error {
			for time.Since(begin) < during {
				_, err := ask(ctx, hc, issuer, url.Values{
					"grant_type": {grantExchange}, "subject_token": {subject}, "audience": {"nextcloud"},
					"subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
				})
				if err != nil {
					return err
				}
				done[i]++
			}
			return nil
		})
	}
	err = group.Wait()
	sum := 0
	for _, n := range done {
		sum += n
	}
	return float64(sum) / time.Since(begin).Seconds(), err
}

func ask(ctx context.Context, hc *http.Client, issuer string, form url.Values) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, issuer+"/protocol/openid-connect/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(keycloakClient, keycloakClient+"-secret")
	response, err := hc.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	var body struct {
		AccessToken string `json:"access_token"`
		Error       string `json:"error"`
	}
	if err := json.NewDecoder(response.Body).Decode(&body); err != nil {
		return "", err
	}
	if body.AccessToken == "" {
		return "", fmt.Errorf("keycloak answers %s %s", response.Status, body.Error)
	}
	return body.AccessToken, nil
}
