// Command nextcloud-standin serves nextcloudtest's stand-in for Nextcloud, for the development stack and end-to-end tests.
// Below /_standin/ it takes what occ does on a real server, see nextcloudtest.Server.AdminHandler.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/tokengrant/tokengrant/nextcloud/nextcloudtest"
)

type config struct {
	options                               nextcloudtest.Options
	users                                 string
	uniqueUID                             bool
	listen, readyFile, issuerCA, crt, key string
}

func main() {
	var c config
	flag.StringVar(&c.listen, "listen", "127.0.0.1:0", "address to listen on")
	flag.StringVar(&c.options.Issuer, "issuer", "", "issuer URL of the OIDC provider")
	flag.StringVar(&c.issuerCA, "issuer-ca", "", "PEM file of the authority that signed the issuer's certificate")
	flag.StringVar(&c.options.ClientID, "audience", "nextcloud", "the provider's client id, which a token's aud must hold")
	flag.StringVar(&c.options.MappingClaim, "mapping-claim", "preferred_username", "the claim that is the user id")
	flag.BoolVar(&c.uniqueUID, "unique-uid", false, "hash the ids of users that tokens create")
	flag.StringVar(&c.users, "users", "", "accounts to start with, comma-separated; admin is in the group admin")
	flag.StringVar(&c.crt, "tls-cert", "", "PEM file of the certificate to serve TLS with")
	flag.StringVar(&c.key, "tls-key", "", "PEM file of its key")
	flag.StringVar(&c.readyFile, "ready-file", "", "file to write the URL to when requests are answered")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := run(ctx, c)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "nextcloud-standin:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, c config) error {
	for name := range strings.SplitSeq(c.users, ",") {
		if name = strings.TrimSpace(name); name != "" {
			u := nextcloudtest.User{ID: name}
			if name == "admin" {
				u.Groups = []string{"admin"}
			}
			c.options.Users = append(c.options.Users, u)
		}
	}
	var err error
	if c.options.HTTP, err = issuerClient(c.issuerCA); err != nil {
		return err
	}
	server := nextcloudtest.New(c.options)
	server.Configure(func(s *nextcloudtest.Settings) { s.UniqueUID = c.uniqueUID })
	mux := http.NewServeMux()
	mux.Handle("/", server.Handler())
	mux.Handle(nextcloudtest.AdminPrefix, server.AdminHandler())

	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", c.listen)
	if err != nil {
		return err
	}
	url := "http://" + l.Addr().String()
	if c.crt != "" {
		url = "https://" + l.Addr().String()
	}
	fmt.Println(url)
	if err := announce(c.readyFile, url); err != nil {
		return errors.Join(err, l.Close())
	}
	return nextcloudtest.Serve(ctx, l, mux, c.crt, c.key)
}

// issuerClient has Nextcloud's own limit of 30 s.
func issuerClient(caFile string) (*http.Client, error) {
	client := &http.Client{Timeout: 30 * time.Second}
	if caFile == "" {
		return client, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", caFile)
	}
	client.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	return client, nil
}

// announce writes the file whole or not at all, because somebody waits for it to appear.
func announce(file, url string) error {
	if file == "" {
		return nil
	}
	part := filepath.Join(filepath.Dir(file), "."+filepath.Base(file)+".part")
	if err := os.WriteFile(part, []byte(url+"\n"), 0o644); err != nil {
		return err
	}
	return os.Rename(part, file)
}
