package stack

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

// authority is a certificate authority for one service. Its certificates are
// good for a year and their keys never leave this machine.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(name string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	root, err := cert.NewSelfSignedCACert(cert.Config{CommonName: name}, key)
	return &authority{key: key, cert: root}, err
}

// bundle is the authority's certificate, for those who shall trust it.
func (a *authority) bundle() []byte {
	return pemCertificate(a.cert.Raw)
}

func pemCertificate(raw []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: cert.CertificateBlockType, Bytes: raw})
}

// serving issues a certificate for a server on the loopback address, and for
// further names and addresses.
func (a *authority) serving(more ...string) (certPEM, keyPEM []byte, err error) {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "localhost"},
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range more {
		if address := net.ParseIP(name); address != nil {
			template.IPAddresses = append(template.IPAddresses, address)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	return a.issue(template)
}

// keyPair are the files of a certificate and its key.
type keyPair struct{ cert, key string }

// servingFiles issues a certificate for the server of a place into its directory.
func (a *authority) servingFiles(place Place) (keyPair, error) {
	certPEM, keyPEM, err := a.serving(place.names()...)
	if err != nil {
		return keyPair{}, err
	}
	files := keyPair{cert: filepath.Join(place.Dir, "serving.crt"), key: filepath.Join(place.Dir, "serving.key")}
	return files, writeFiles(place.Dir, map[string][]byte{"serving.crt": certPEM, "serving.key": keyPEM})
}

// client issues a certificate that kube-apiserver reads as a user and groups.
func (a *authority) client(user string, groups []string) (certPEM, keyPEM []byte, err error) {
	return a.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: user, Organization: groups},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

func (a *authority) issue(template *x509.Certificate) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		return nil, nil, err
	}
	template.NotBefore = a.cert.NotBefore
	template.NotAfter = a.cert.NotBefore.Add(365 * 24 * time.Hour)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	raw, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, nil, err
	}
	keyPEM, err = keyutil.MarshalPrivateKeyToPEM(key)
	return pemCertificate(raw), keyPEM, err
}

// writeFiles writes name → content into dir, readable by the owner only.
func writeFiles(dir string, files map[string][]byte) error {
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}
