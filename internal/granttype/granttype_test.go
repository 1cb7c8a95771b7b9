package granttype

import (
	"strings"
	"testing"

	"github.com/tokengrant/tokengrant/api/v1alpha1"
	"github.com/tokengrant/tokengrant/keycloak"
)

var (
	exchange  = &v1alpha1.Exchange{Audiences: []v1alpha1.Audience{"nextcloud"}}
	own       = v1alpha1.TokenGrantSpec{}
	exchanged = v1alpha1.TokenGrantSpec{Exchange: exchange}
	token     = v1alpha1.TokenGrantSpec{Exchange: exchange, Subject: &v1alpha1.Subject{TokenSecretRef: &v1alpha1.SecretKeyRef{}}}
	offline   = v1alpha1.TokenGrantSpec{Subject: &v1alpha1.Subject{OfflineTokenSecretRef: &v1alpha1.SecretKeyRef{}}}
	narrowed  = v1alpha1.TokenGrantSpec{Exchange: exchange, Subject: offline.Subject}
	asserted  = v1alpha1.TokenGrantSpec{Subject: &v1alpha1.Subject{Assertion: &v1alpha1.Assertion{}}}
)

func TestWhatIsNotOfferedIsMissedByThoseWhoNeedIt(t *testing.T) {
	nextcloud1 := []string{"authorization_code", "implicit"}
	nextcloud2 := []string{"authorization_code", "implicit", "refresh_token"}
	keycloak264 := []string{
		"authorization_code", "client_credentials", "implicit", "password", "refresh_token",
		"urn:ietf:params:oauth:grant-type:device_code", "urn:ietf:params:oauth:grant-type:token-exchange", "urn:ietf:params:oauth:grant-type:uma-ticket",
	}
	for name, tt := range map[string]struct {
		offered []string
		spec    v1alpha1.TokenGrantSpec
		missing string // how the message begins, after "the issuer does not offer "; empty: nothing is
	}{
		"no list denies nothing":                                 {nil, exchanged, ""},
		"Nextcloud 1.x has no service accounts":                  {nextcloud1, own, "client_credentials, its discovery lists: authorization_code, implicit; use Keycloak"},
		"Nextcloud 1.x has no offline tokens":                    {nextcloud1, offline, "refresh_token, "},
		"Nextcloud 2.x has no service accounts":                  {nextcloud2, exchanged, "client_credentials, "},
		"Nextcloud 2.x has offline tokens":                       {nextcloud2, offline, ""},
		"Nextcloud 2.x has no exchange of them":                  {nextcloud2, narrowed, "token-exchange, "},
		"Nextcloud 2.x exchanges no other's token":               {nextcloud2, token, "token-exchange, "},
		"Keycloak 26.4 has service accounts":                     {keycloak264, own, ""},
		"Keycloak 26.4 exchanges":                                {keycloak264, exchanged, ""},
		"Keycloak 26.4 exchanges others' tokens":                 {keycloak264, token, ""},
		"Keycloak 26.4 has no JWT grant":                         {keycloak264, asserted, "jwt-bearer, "},
		"an issuer of JWT grants only has no service account":    {[]string{keycloak.GrantTypeJWTBearer}, own, "client_credentials, "},
		"an issuer of JWT grants only takes assertions":          {[]string{keycloak.GrantTypeJWTBearer}, asserted, ""},
		"an issuer of exchanges only serves whoever has a token": {[]string{keycloak.GrantTypeTokenExchange}, token, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := Missing(tt.offered, tt.spec)
			if tt.missing == "" && got != "" || !strings.HasPrefix(got, "the issuer does not offer "+tt.missing) && tt.missing != "" {
				t.Errorf("%q, want %q", got, tt.missing)
			}
		})
	}
}

func TestAnIssuerWithoutServiceAccountsIsOfNoUse(t *testing.T) {
	for name, tt := range map[string]struct {
		offered []string
		says    string // empty: it can serve somebody
	}{
		"no list":                         {nil, ""},
		"client credentials":              {[]string{"authorization_code", "client_credentials"}, ""},
		"JWT grants":                      {[]string{keycloak.GrantTypeJWTBearer}, ""},
		"exchange":                        {[]string{keycloak.GrantTypeTokenExchange}, ""},
		"logins only":                     {[]string{"authorization_code", "implicit"}, "lists: authorization_code, implicit; use Keycloak, with Nextcloud's app user_oidc, or spec.appPassword of a TokenGrant"},
		"logins that can be refreshed":    {[]string{"authorization_code", "refresh_token"}, "Only grants with subject.offlineTokenSecretRef are served"},
		"logins on a device, a long name": {[]string{"urn:ietf:params:oauth:grant-type:device_code"}, "lists: device_code; "},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Unusable(tt.offered); !strings.Contains(got, tt.says) || (got == "") != (tt.says == "") {
				t.Errorf("%q, want %q", got, tt.says)
			}
		})
	}
}
