package stack

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// AdminToken returns an access token of the administrator; it lives a minute.
func (k *Keycloak) AdminToken(ctx context.Context) (string, error) {
	form := url.Values{
		"grant_type": {"password"}, "client_id": {"admin-cli"},
		"username": {keycloakAdmin}, "password": {keycloakPassword},
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost,
		k.Issuer("master")+"/protocol/openid-connect/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	err = k.do(request, &answer)
	return answer.AccessToken, err
}

// Admin calls Keycloak's Admin REST API. path begins below /admin/realms, e.g.
// "/tokengrant/clients?clientId=notes-sync". body, when not nil, is sent as
// JSON; the answer is decoded into out, when not nil. Any status but 2xx is an
// error that quotes the answer.
func (k *Keycloak) Admin(ctx context.Context, method, path string, body, out any) error {
	token, err := k.AdminToken(ctx)
	if err != nil {
		return fmt.Errorf("administrator's token: %w", err)
	}
	var content io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, k.URL+"/admin/realms"+path, content)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	return k.do(request, out)
}

func (k *Keycloak) do(request *http.Request, out any) error {
	response, err := k.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %s", request.Method, request.URL.Path, response.Status, content)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(content, out)
}

// trusting returns a client that trusts the authority and nobody else.
func trusting(a *authority) *http.Client {
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
}
