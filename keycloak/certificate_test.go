package keycloak

import (
	"crypto/x509"
	"slices"
	"testing"
	"time"

	"github.com/tokengrant/tokengrant/internal/sensitive"
)

func TestAClientCertificateIsRead(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	der := func(end time.Time, uses ...x509.ExtKeyUsage) []byte {
		return certificateOf(t, &x509.Certificate{NotAfter: end, ExtKeyUsage: uses}).Certificate[0]
	}
	good := der(now.Add(time.Hour), x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth)
	certificate, key := pemOf("CERTIFICATE", good), pkcs8(p256)
	for name, tt := range map[string]struct {
		certificate, key string
		says             string // empty: it is good
		chain            int
	}{
		"a pair":                              {certificate, key, "", 1},
		"with a chain":                        {certificate + certificate, key, "", 2},
		"with something between":              {"text\n" + pemOf("X509 CRL", good) + certificate, key, "", 1},
		"in its last second":                  {pemOf("CERTIFICATE", der(now)), key, "", 1},
		"for any use":                         {pemOf("CERTIFICATE", der(now, x509.ExtKeyUsageAny)), key, "", 1},
		"nothing":                             {"", key, "no PEM certificate", 0},
		"the key in place of the certificate": {key, key, "no PEM certificate", 0},
		"no PEM":                              {"canary-4711", key, "no PEM certificate", 0},
		"a damaged certificate":               {pemOf("CERTIFICATE", good[:len(good)/2]), key, "damaged", 0},
		"an expired one":                      {pemOf("CERTIFICATE", der(now.Add(-time.Second))), key, "expired, at 2029-12-31T23:59:59Z", 0},
		"one for servers":                     {pemOf("CERTIFICATE", der(now, x509.ExtKeyUsageServerAuth)), key, "clientAuth", 0},
		"no key":                              {certificate, "", "the private key is empty", 0},
		"the certificate in place of the key": {certificate, certificate, "CERTIFICATE", 0},
		"the key of another":                  {certificate, pkcs8(rsa2048), "not the one of the certificate", 0},
	} {
		t.Run(name, func(t *testing.T) {
			pair, err := ClientCertificate(tt.certificate, sensitive.New(tt.key), now)
			if tt.says != "" {
				wantError(t, err, ReasonCredentialMissing, tt.says)
				return
			}
			if err != nil || len(pair.Certificate) != tt.chain || !slices.Equal(pair.Leaf.Raw, pair.Certificate[0]) || pair.PrivateKey == nil {
				t.Errorf("%+v, %v", pair, err)
			}
		})
	}
}
