package natstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

// TLS is an authority with a certificate of a server at 127.0.0.1 and one of a
// client, as files.
type TLS struct {
	CAFile                string
	ClientCert, ClientKey string
	serverCert, serverKey string
}

// NewTLS makes them anew.
func NewTLS(t testing.TB) TLS {
	t.Helper()
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	serial := int64(0)
	make1 := func(name string, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, string, string) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(err)
		serial++
		template := &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
			IsCA: parent == nil, BasicConstraintsValid: true,
			KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
			IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		}
		if parent == nil {
			parent, parentKey = template, key
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
		must(err)
		cert, err := x509.ParseCertificate(der)
		must(err)
		keyDER, err := x509.MarshalPKCS8PrivateKey(key)
		must(err)
		certFile, keyFile := filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
		must(os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
		must(os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))
		return cert, key, certFile, keyFile
	}
	ca, caKey, caFile, _ := make1("ca", nil, nil)
	x := TLS{CAFile: caFile}
	_, _, x.serverCert, x.serverKey = make1("server", ca, caKey)
	_, _, x.ClientCert, x.ClientKey = make1("client", ca, caKey)
	return x
}

// Config is the server's part; with verify a client must show its certificate.
func (x TLS) Config(verify bool) string {
	return fmt.Sprintf("tls {\n  cert_file: %q\n  key_file: %q\n  ca_file: %q\n  verify: %t\n}\n", x.serverCert, x.serverKey, x.CAFile, verify)
}

// Operator is an operator with one account that may use JetStream, and a user of
// it whose credentials are in a file.
type Operator struct {
	CredentialsFile string
	config          string
}

// NewOperator makes them anew.
func NewOperator(t testing.TB) Operator {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	pair := func(make1 func() (nkeys.KeyPair, error)) (nkeys.KeyPair, string) {
		k, err := make1()
		must(err)
		pub, err := k.PublicKey()
		must(err)
		return k, pub
	}
	op, opPub := pair(nkeys.CreateOperator)
	sys, sysPub := pair(nkeys.CreateAccount)
	_ = sys // nobody logs in there
	acc, accPub := pair(nkeys.CreateAccount)
	user, userPub := pair(nkeys.CreateUser)

	oc := jwt.NewOperatorClaims(opPub)
	oc.SystemAccount = sysPub
	operator, err := oc.Encode(op)
	must(err)
	sysAccount, err := jwt.NewAccountClaims(sysPub).Encode(op)
	must(err)
	ac := jwt.NewAccountClaims(accPub)
	ac.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: jwt.NoLimit, DiskStorage: jwt.NoLimit, Streams: jwt.NoLimit, Consumer: jwt.NoLimit}
	account, err := ac.Encode(op)
	must(err)
	uc, err := jwt.NewUserClaims(userPub).Encode(acc)
	must(err)
	seed, err := user.Seed()
	must(err)
	creds, err := jwt.FormatUserConfig(uc, seed)
	must(err)
	file := filepath.Join(t.TempDir(), "user.creds")
	must(os.WriteFile(file, creds, 0o600))
	return Operator{
		CredentialsFile: file,
		config: fmt.Sprintf("operator: %s\nsystem_account: %s\nresolver: MEMORY\nresolver_preload: {\n  %s: %s\n  %s: %s\n}\n",
			operator, sysPub, sysPub, sysAccount, accPub, account),
	}
}

// Config is the server's part.
func (o Operator) Config() string { return o.config }

// NewNKey makes a user's key: the public part for a server's configuration
// (authorization { users: [{ nkey: … }] }) and the file of its seed.
func NewNKey(t testing.TB) (public, seedFile string) {
	t.Helper()
	k, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	if public, err = k.PublicKey(); err != nil {
		t.Fatal(err)
	}
	seed, err := k.Seed()
	if err != nil {
		t.Fatal(err)
	}
	seedFile = filepath.Join(t.TempDir(), "user.nk")
	if err := os.WriteFile(seedFile, seed, 0o600); err != nil {
		t.Fatal(err)
	}
	return public, seedFile
}
