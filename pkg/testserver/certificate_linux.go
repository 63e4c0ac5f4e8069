package testserver

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
	"testing"
	"time"
)

// Certificate is a server's certificate for 127.0.0.1 and "server.test", signed by an
// authority of its own.
type Certificate struct {
	Dir               string         // holds the files
	CAFile            string         // of the authority
	CertFile, KeyFile string         // of the server, readable by the servers' user alone
	Authority         *x509.CertPool // what a client trusts
	NotAfter          time.Time
}

// NewCertificate makes one that is valid for a day.
func NewCertificate(t testing.TB) *Certificate {
	t.Helper()
	dir := directory(t, "certificate")
	c := &Certificate{
		Dir: dir, CAFile: filepath.Join(dir, "ca.pem"), CertFile: filepath.Join(dir, "cert.pem"),
		KeyFile: filepath.Join(dir, "key.pem"), Authority: x509.NewCertPool(),
		NotAfter: time.Now().Add(24 * time.Hour).Truncate(time.Second).UTC(),
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority for a test"},
		NotBefore: c.NotAfter.Add(-48 * time.Hour), NotAfter: c.NotAfter,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caKey := newKey(t)
	caBytes := c.write(t, c.CAFile, ca, ca, caKey, caKey)
	parsed, err := x509.ParseCertificate(caBytes)
	if err != nil {
		t.Fatal(err)
	}
	c.Authority.AddCert(parsed)

	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "server.test"},
		NotBefore: ca.NotBefore, NotAfter: c.NotAfter,
		DNSNames: []string{"server.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	key := newKey(t)
	c.write(t, c.CertFile, leaf, ca, key, caKey)
	keyBytes, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, c.KeyFile, "PRIVATE KEY", keyBytes)
	for _, file := range []string{dir, c.CAFile, c.CertFile, c.KeyFile} {
		own(t, file)
	}
	return c
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// write signs a certificate and writes it.
func (c *Certificate) write(t testing.TB, file string, leaf, by *x509.Certificate, key, byKey *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, leaf, by, &key.PublicKey, byKey)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, file, "CERTIFICATE", der)
	return der
}

func writePEM(t testing.TB, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}
