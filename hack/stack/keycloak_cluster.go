package stack

import (
	"context"
	"maps"
	"net/http"
)

// ClusterAlias is the identity provider that stands for a cluster at Keycloak.
const ClusterAlias = "kubernetes"

// previewOfFederation is the version that has authentication by tokens of others as a preview only, and knows no clusters.
const previewOfFederation = "26.4.2"

// FederationFeatures are the features that a version of Keycloak needs for TrustCluster.
func FederationFeatures(version string) []string {
	if version == previewOfFederation {
		return []string{"client-auth-federated"}
	}
	return nil
}

// TrustCluster lets clients of a realm authenticate with tokens of a cluster's ServiceAccounts. Keycloak must trust the
// authority of the API server (KeycloakOptions.Truststore), and everybody must be able to read the cluster's keys.
func (k *Keycloak) TrustCluster(ctx context.Context, realm, cluster string) error {
	kind, config := "kubernetes", map[string]string{"issuer": cluster}
	if k.Version == previewOfFederation {
		kind = "oidc"
		maps.Copy(config, map[string]string{
			"supportsClientAssertions": "true", "supportsClientAssertionReuse": "true",
			"validateSignature": "true", "useJwksUrl": "true", "jwksUrl": cluster + "/openid/v1/jwks",
			"clientId": "unused", "clientSecret": "unused", "authorizationUrl": cluster, "tokenUrl": cluster,
		})
	}
	return k.Admin(ctx, http.MethodPost, "/"+realm+"/identity-provider/instances", map[string]any{
		"alias": ClusterAlias, "providerId": kind, "enabled": true, "config": config,
	}, nil)
}
