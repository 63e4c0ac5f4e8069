package healthcheck

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// fake is a server that says what a test wants, to everybody who connects.
type fake struct {
	Address
	conns  atomic.Int32 // that are open
	served sync.WaitGroup
}

// serveFake calls serve with every connection to a port of its own, and closes it
// afterwards.
func serveFake(t *testing.T, serve func(net.Conn)) *fake {
	t.Helper()
	l := listen(t, "tcp", "127.0.0.1:0")
	f := &fake{Address: tcpAddress(l)}
	f.serve(t, l, serve)
	return f
}

// serveFakeUnix is the same on a unix socket.
func serveFakeUnix(t *testing.T, serve func(net.Conn)) *fake {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	f := &fake{Address: Address{Path: path}}
	f.serve(t, listen(t, "unix", path), serve)
	return f
}

func (f *fake) serve(t *testing.T, l net.Listener, serve func(net.Conn)) {
	f.served.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			f.conns.Add(1)
			f.served.Go(func() {
				defer f.conns.Add(-1)
				defer conn.Close()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		f.served.Wait()
	})
}

// says writes text, reads until the client goes, and so closes after it.
func says(text string) func(net.Conn) {
	return func(c net.Conn) {
		io.WriteString(c, text)
		io.Copy(io.Discard, c)
	}
}

// cuts writes text and closes, once the client has said something if it is to.
func cuts(text string, hear bool) func(net.Conn) {
	return func(c net.Conn) {
		if hear {
			c.Read(make([]byte, 4096))
		}
		io.WriteString(c, text)
		c.(interface{ CloseWrite() error }).CloseWrite()
		io.Copy(io.Discard, c)
	}
}

// drips writes text byte by byte, each in a segment of its own.
func drips(text string) func(net.Conn) {
	return func(c net.Conn) {
		for i := range len(text) {
			if _, err := io.WriteString(c, text[i:i+1]); err != nil {
				return
			}
		}
		io.Copy(io.Discard, c)
	}
}

// floods writes first and then more without end.
func floods(first, more string) func(net.Conn) {
	return func(c net.Conn) {
		if _, err := io.WriteString(c, first); err != nil {
			return
		}
		for {
			if _, err := io.WriteString(c, more); err != nil {
				return
			}
		}
	}
}

// silent never says anything.
var silent = says("")

// garbage is what another protocol says: a MySQL greeting, more or less.
const garbage = "\x4a\x00\x00\x00\x0a8.0.36\x00\x08\x00\x00\x00\x01\x02\x03\x04\x00\xff\xff"

// judged fails t unless r has the verdict, the reason and the text. What it took is not
// looked at: a test that waits for the timeout sets one.
func judged(t *testing.T, r Result, v Verdict, reason Reason, text string) {
	t.Helper()
	if r.Verdict != v || r.Reason != reason || r.Text() != text {
		t.Errorf("got %v, reason %q, text %q; want %v, %q, %q", r.Verdict, r.Reason, r.Text(), v, reason, text)
	}
}

// malformed is how a server may fail to answer, and what a prober has to say of it.
type malformed struct {
	name   string
	serve  func(net.Conn)
	reason Reason
	text   string
}

// brief is the time of probes that are not answered: all of it passes.
const brief = 150 * time.Millisecond

// badServers runs a prober against servers that do not do what they should. Each is down
// with a reason that a person can read, on time, and takes little memory; and all
// connections are closed.
func badServers(t *testing.T, p Prober, servers []malformed) {
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) {
			f := serveFake(t, s.serve)
			timeout := patience
			if s.reason == ReasonTimeout {
				timeout = brief
			}
			start, before := time.Now(), allocated()
			r := probe(t, p, f.Address, timeout)
			if took := time.Since(start); took > timeout+patience/2 {
				t.Errorf("took %v; want %v at most, more or less", took, timeout)
			}
			if grown := allocated() - before; grown > 16<<20 {
				t.Errorf("allocated %d bytes; want a bound", grown)
			}
			judged(t, r, Down, s.reason, s.text)
			waitUntil(t, "the connection is closed", func() bool { return f.conns.Load() == 0 })
		})
	}
}

// allocated is how much this process has allocated so far.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

func waitUntil(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v until %s", patience, what)
		}
	}
}

// certificates are an authority of their own.
type certificates struct {
	pool *x509.CertPool
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newCertificates(t testing.TB) *certificates {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	c := &certificates{pool: x509.NewCertPool(), cert: cert, key: key}
	c.pool.AddCert(cert)
	return c
}

// issue makes a certificate for 127.0.0.1 and names that lasts until notAfter.
func (c *certificates) issue(t testing.TB, notAfter time.Time, names ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "test server"},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: notAfter,
		DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.cert, &key.PublicKey, c.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// overTLS wraps a server.
func overTLS(config *tls.Config, serve func(net.Conn)) func(net.Conn) {
	return func(c net.Conn) {
		conn := tls.Server(c, config)
		if conn.HandshakeContext(context.Background()) == nil {
			serve(conn)
		}
	}
}

func parseLeaf(c tls.Certificate) (*x509.Certificate, error) {
	return x509.ParseCertificate(c.Certificate[0])
}
