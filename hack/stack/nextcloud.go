package stack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"
)

// NextcloudOptions say whose tokens Nextcloud accepts.
type NextcloudOptions struct {
	Place
	Issuer       string // issuer URL of the realm
	IssuerCA     string // PEM file of the authority behind an https issuer
	Audience     string // default: nextcloud
	MappingClaim string // the claim that is the user id; default: preferred_username
	// Users exist from the start. Others are created by their first valid token.
	Users []string
	HTTPS bool // serve https with a certificate of its own, see Nextcloud.CA
}

// Nextcloud is a running server.
type Nextcloud struct {
	*Service
	URL string // no trailing slash
	// StandIn is false for the real server of $NEXTCLOUD_URL.
	StandIn bool
	// CA is the PEM certificate to trust; nil without HTTPS.
	CA []byte
}

// StartNextcloud starts the stand-in of nextcloud/nextcloudtest. With
// $NEXTCLOUD_URL set it starts nothing and takes that server, which must trust
// the issuer already; Stop and Start then do nothing.
func StartNextcloud(ctx context.Context, o NextcloudOptions) (*Nextcloud, error) {
	if server := strings.TrimSuffix(os.Getenv("NEXTCLOUD_URL"), "/"); server != "" {
		if err := answers(ctx, http.DefaultClient, server+"/status.php"); err != nil {
			return nil, fmt.Errorf("NEXTCLOUD_URL: %w", err)
		}
		Sayf(ctx, "using the Nextcloud at %s", server)
		return &Nextcloud{Service: &Service{}, URL: server}, nil
	}
	program, err := goBuild(ctx, "./nextcloud/nextcloudtest/cmd/nextcloud-standin")
	if err != nil {
		return nil, err
	}
	elapsed := took(ctx)
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	service, err := newService(o.Place)
	if err != nil {
		return nil, err
	}
	n := &Nextcloud{Service: service, URL: "http://" + o.listen(port), StandIn: true}
	client, args := http.DefaultClient, o.args(port)
	if o.HTTPS {
		authority, err := newAuthority("tokengrant-nextcloud")
		if err != nil {
			return nil, err
		}
		files, err := authority.servingFiles(service.place)
		if err != nil {
			return nil, err
		}
		n.URL, n.CA, client = "https://"+o.listen(port), authority.bundle(), trusting(authority)
		args = append(args, "--tls-cert="+files.cert, "--tls-key="+files.key)
	}
	err = n.run(ctx, &server{
		name: "nextcloud-standin", path: program, args: args, within: 30 * time.Second,
		ready: func(ctx context.Context) error { return answers(ctx, client, n.URL+"/status.php") },
	})
	if err != nil {
		return nil, errors.Join(err, n.Stop())
	}
	Sayf(ctx, "the Nextcloud stand-in is up at %s (%s)", n.URL, elapsed())
	return n, nil
}

func (o NextcloudOptions) args(port int) []string {
	args := []string{"--listen=" + o.listen(port), "--issuer=" + o.Issuer}
	for flag, value := range map[string]string{
		"issuer-ca": o.IssuerCA, "audience": o.Audience,
		"mapping-claim": o.MappingClaim, "users": strings.Join(o.Users, ","),
	} {
		if value != "" {
			args = append(args, "--"+flag+"="+value)
		}
	}
	return args
}
