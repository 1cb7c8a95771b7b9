package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// shorten keeps so little of a token that nobody can use it: the beginning of
// the header, which all tokens of a realm share.
func shorten(token string) string {
	const kept = 10
	if len(token) <= 2*kept {
		return "…"
	}
	return fmt.Sprintf("%s… (%d characters)", token[:kept], len(token))
}

// claims are what the demo reads from a token.
type claims struct {
	JTI      string `json:"jti"`
	Exp      int64  `json:"exp"`
	indented string // all of them, as JSON
}

func (c claims) expiry() time.Time { return time.Unix(c.Exp, 0) }

// decode reads the claims of a JWT. It does not verify it: the operator did.
func decode(token string) (claims, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return claims{}, errors.New("not a JWT")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return claims{}, fmt.Errorf("payload of the JWT: %w", err)
	}
	var c claims
	if err := json.Unmarshal(payload, &c); err != nil {
		return claims{}, fmt.Errorf("payload of the JWT: %w", err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, payload, "", "  "); err != nil {
		return claims{}, err
	}
	c.indented = indented.String() + "\n"
	return c, nil
}

// relocate points the issuers and grants among YAML documents to other servers
// and returns all documents as one JSON list.
func relocate(documents, issuer, nextcloud string) ([]byte, error) {
	list := unstructured.UnstructuredList{Object: map[string]any{"apiVersion": "v1", "kind": "List"}}
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(documents), 4096)
	for {
		var object unstructured.Unstructured
		err := decoder.Decode(&object)
		if errors.Is(err, io.EOF) {
			return list.MarshalJSON()
		}
		if err != nil {
			return nil, err
		}
		switch object.GetKind() {
		case "ClusterTokenIssuer", "TokenIssuer":
			err = unstructured.SetNestedField(object.Object, issuer, "spec", "url")
		case "TokenGrant":
			for _, user := range []string{"check", "appPassword"} {
				if _, used, _ := unstructured.NestedMap(object.Object, "spec", user, "nextcloud"); used {
					err = errors.Join(err, unstructured.SetNestedField(object.Object, nextcloud, "spec", user, "nextcloud", "url"))
				}
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
		list.Items = append(list.Items, object)
	}
}
