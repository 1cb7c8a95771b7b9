package publish

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// AppPasswordType is the type of a Secret with an app password: kubernetes.io/basic-auth, which the API server takes only
// with one of its two keys, else Opaque.
func AppPasswordType(templates map[string]string) corev1.SecretType {
	_, user := templates[corev1.BasicAuthUsernameKey]
	_, password := templates[corev1.BasicAuthPasswordKey]
	if len(templates) > 0 && !user && !password {
		return corev1.SecretTypeOpaque
	}
	return corev1.SecretTypeBasicAuth
}

// fieldsOfTokens are those that templates see empty where there is an app password.
var fieldsOfTokens = []string{".AccessToken", ".TokenType", ".ExpiresAt", ".Scope", ".Claims"}

// ValidateAppPassword reports, beyond Validate, templates that ask an app password for what only a token has: they would
// render to nothing.
func ValidateAppPassword(templates map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(templates)) {
		for _, field := range fieldsOfTokens {
			if strings.Contains(templates[key], field) {
				return fmt.Errorf("key %q: an app password has no %s: use .Username, .Password and .IssuedAt", key, field)
			}
		}
	}
	return nil
}
