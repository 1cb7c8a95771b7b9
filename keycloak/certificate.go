package keycloak

import (
	"crypto"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tokengrant/tokengrant/internal/sensitive"
)

// ClientCertificate reads what a client presents to authenticate by TLS: its certificate, followed by the chain to its
// authority where there is one, and its private key, both PEM, as tls.crt and tls.key of a kubernetes.io/tls Secret.
// One that has expired, or is for servers only, is refused here, because a server says less about it.
//
// Errors: CredentialMissing. They say nothing of the key but its kind.
func ClientCertificate(certificate string, key sensitive.String, now time.Time) (*tls.Certificate, error) {
	pair, err := readCertificate(certificate)
	if err != nil {
		return nil, badCertificate(err, "tls.crt must hold a client certificate, as PEM")
	}
	if err := usable(pair.Leaf, now); err != nil {
		return nil, badCertificate(err, "renew it, with the use clientAuth; a changed Secret counts at once")
	}
	private, err := parseKey(key.Reveal())
	if err != nil {
		return nil, badCertificate(err, "tls.key must hold the private key of the certificate, as PEM")
	}
	signer, ok := private.Key.(crypto.Signer)
	public, known := pair.Leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !known || !public.Equal(signer.Public()) {
		return nil, badCertificate(errors.New("the private key is not the one of the certificate"), "tls.crt and tls.key must be of one pair")
	}
	if public, isRSA := signer.Public().(*rsa.PublicKey); isRSA && public.N.BitLen() > maxRSABits {
		return nil, badCertificate(fmt.Errorf("the key has %d bits, and an RSA key has at most %d", public.N.BitLen(), maxRSABits), "take a shorter key")
	}
	pair.PrivateKey = signer
	return pair, nil
}

func badCertificate(err error, hint string) *Error {
	return &Error{Op: opClientAuthentication, Reason: ReasonCredentialMissing, Description: err.Error(), Hint: hint}
}

// readCertificate reads a certificate and its chain. Other blocks of the PEM do not matter.
func readCertificate(text string) (*tls.Certificate, error) {
	pair := &tls.Certificate{}
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			pair.Certificate = append(pair.Certificate, block.Bytes)
		}
	}
	if len(pair.Certificate) == 0 {
		return nil, errors.New("there is no PEM certificate")
	}
	var err error
	if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
		return nil, errors.New("the certificate is damaged")
	}
	return pair, nil
}

// usable says why a certificate cannot authenticate a client. One that is not valid yet may be so to the issuer's clock.
func usable(leaf *x509.Certificate, now time.Time) error {
	switch uses := leaf.ExtKeyUsage; {
	case now.After(leaf.NotAfter):
		return errors.New("the certificate has expired, at " + leaf.NotAfter.UTC().Format(time.RFC3339))
	case len(uses) > 0 && !slices.Contains(uses, x509.ExtKeyUsageClientAuth) && !slices.Contains(uses, x509.ExtKeyUsageAny):
		return errors.New("the certificate is not for clients: its extended key usage lacks clientAuth")
	}
	return nil
}
