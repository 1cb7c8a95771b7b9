package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
)

// bare says what the floor does: the same requests and the same writes as the operator, and nothing else, in a process of
// its own.
type bare struct {
	Kubeconfig, Namespace, Issuer, Nextcloud string
	N                                        int
	// Refresh writes over Secrets that are there, else grants and Secrets are made.
	Refresh bool
}

// effort is what it took.
type effort struct {
	Took, CPU time.Duration
}

// floor runs this program again as the bare loop.
func floor(ctx context.Context, b bare) (effort, error) {
	self, err := os.Executable()
	if err != nil {
		return effort{}, err
	}
	order, err := json.Marshal(b)
	if err != nil {
		return effort{}, err
	}
	command := exec.CommandContext(ctx, self, "floor", string(order))
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		return effort{}, fmt.Errorf("the floor: %w", err)
	}
	var e effort
	if err := json.Unmarshal(out, &e); err != nil {
		return effort{}, fmt.Errorf("the floor: %w", err)
	}
	return e, nil
}

// beFloor is what that other process does.
func beFloor(ctx context.Context, order string) error {
	var b bare
	if err := json.Unmarshal([]byte(order), &b); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", b.Kubeconfig)
	if err != nil {
		return err
	}
	c, err := newClient(config)
	if err != nil {
		return err
	}
	l := loop{bare: b, client: c, places: semaphore.NewWeighted(issuerConcurrency), http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: issuerConcurrency}}}
	if b.Refresh {
		var list v1alpha1.TokenGrantList
		if err := c.List(ctx, &list, client.InNamespace(b.Namespace)); err != nil {
			return err
		}
		l.there = map[string]*v1alpha1.TokenGrant{}
		for i := range list.Items {
			l.there[list.Items[i].Name] = &list.Items[i]
		}
	}
	begin, spent := time.Now(), ownCPU()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(applyAtOnce)
	for i := range b.N {
		group.Go(func() error { return l.one(ctx, i) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(effort{time.Since(begin), ownCPU() - spent})
}

func ownCPU() time.Duration {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

type loop struct {
	bare
	client client.Client
	places *semaphore.Weighted
	http   *http.Client
	// there are the grants that are refreshed.
	there map[string]*v1alpha1.TokenGrant
}

func (l *loop) one(ctx context.Context, i int) error {
	g := grant(l.Namespace, i, l.Nextcloud)
	if !l.Refresh {
		if err := l.client.Create(ctx, g); err != nil {
			return err
		}
	} else {
		g = l.there[g.Name].DeepCopy()
	}
	if i%grantsPerClient == 0 && !l.Refresh {
		if _, err := l.post(ctx, i, url.Values{"grant_type": {"client_credentials"}}); err != nil {
			return err
		}
	}
	token, err := l.post(ctx, i, url.Values{"grant_type": {grantExchange}, "subject_token": {strings.Repeat("x", 600)}, "audience": {"nextcloud"}})
	if err != nil {
		return err
	}
	if l.Nextcloud != "" && !l.Refresh {
		if err := l.get(ctx, l.Nextcloud+"/ocs/v2.php/cloud/user?format=json"); err != nil {
			return err
		}
	}
	return l.write(ctx, g, token)
}

// write does what the operator does: the Secret, then the status.
func (l *loop) write(ctx context.Context, g *v1alpha1.TokenGrant, token string) error {
	secret := published(g, token)
	var err error
	if l.Refresh {
		err = l.client.Update(ctx, secret)
	} else {
		err = l.client.Create(ctx, secret)
	}
	if err != nil {
		return err
	}
	before := g.DeepCopy()
	setStatus(g)
	return l.client.Status().Patch(ctx, g, client.MergeFrom(before))
}

func (l *loop) post(ctx context.Context, i int, form url.Values) (string, error) {
	if err := l.places.Acquire(ctx, 1); err != nil {
		return "", err
	}
	defer l.places.Release(1)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, l.Issuer+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(clientOf(i), clientSecret)
	response, err := l.http.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	var body struct {
		AccessToken string `json:"access_token"`
	}
	return body.AccessToken, json.NewDecoder(response.Body).Decode(&body)
}

func (l *loop) get(ctx context.Context, target string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		return err
	}
	response, err := l.http.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	_, err = io.Copy(io.Discard, response.Body)
	return err
}
