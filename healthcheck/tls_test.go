package healthcheck

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

func TestTLS(t *testing.T) {
	ca, other := newCertificates(t), newCertificates(t)
	good := ca.issue(t, time.Now().Add(100*time.Hour), "db.example.org")
	expired := ca.issue(t, time.Now().Add(-time.Hour), "db.example.org")
	for _, tt := range []struct {
		name   string
		server *tls.Config
		client *tls.Config
		reason Reason
		text   string // that is in the result's; "" is up
	}{
		{"a trusted certificate for the address", &tls.Config{Certificates: []tls.Certificate{good}},
			&tls.Config{RootCAs: ca.pool}, "", ""},
		{"a trusted certificate for the name", &tls.Config{Certificates: []tls.Certificate{good}},
			&tls.Config{RootCAs: ca.pool, ServerName: "db.example.org"}, "", ""},
		{"another name", &tls.Config{Certificates: []tls.Certificate{good}},
			&tls.Config{RootCAs: ca.pool, ServerName: "web.example.org"}, ReasonTLS, "not web.example.org"},
		{"another authority", &tls.Config{Certificates: []tls.Certificate{good}},
			&tls.Config{RootCAs: other.pool}, ReasonTLS, "unknown authority"},
		{"another authority, not verified", &tls.Config{Certificates: []tls.Certificate{good}},
			&tls.Config{RootCAs: other.pool, InsecureSkipVerify: true}, "", ""},
		{"an expired certificate", &tls.Config{Certificates: []tls.Certificate{expired}},
			&tls.Config{RootCAs: ca.pool}, ReasonTLS, "expired"},
		{"a protocol that both speak", &tls.Config{Certificates: []tls.Certificate{good}, NextProtos: []string{"h2", "postgresql"}},
			&tls.Config{RootCAs: ca.pool, NextProtos: []string{"postgresql"}}, "", ""},
		{"a protocol that the server does not speak", &tls.Config{Certificates: []tls.Certificate{good}, NextProtos: []string{"h2"}},
			&tls.Config{RootCAs: ca.pool, NextProtos: []string{"postgresql"}}, ReasonTLS, "no application protocol"},
		{"a server without protocols", &tls.Config{Certificates: []tls.Certificate{good}},
			&tls.Config{RootCAs: ca.pool, NextProtos: []string{"postgresql"}}, ReasonTLS, "server speaks none of postgresql"},
		{"an old version", &tls.Config{Certificates: []tls.Certificate{good}, MaxVersion: tls.VersionTLS12},
			&tls.Config{RootCAs: ca.pool}, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			heard := make(chan error, 1)
			f := serveFake(t, overTLS(tt.server, func(c net.Conn) {
				_, err := c.Read(make([]byte, 1))
				heard <- err
			}))
			r := probe(t, &TLS{Config: tt.client}, f.Address, patience)
			if tt.text == "" {
				judged(t, r, Up, "", "")
				if err := <-heard; err != io.EOF {
					t.Errorf("server: got %v; want a goodbye (EOF)", err)
				}
			} else if r.Verdict != Down || r.Reason != tt.reason || !strings.Contains(r.Text(), tt.text) {
				t.Errorf("got %v, %q, %q; want down, %q, ...%q...", r.Verdict, r.Reason, r.Text(), tt.reason, tt.text)
			}
			if want := tt.server.Certificates[0]; !sameExpiry(r.Facts.NotAfter, want) && tt.text != "no application protocol" {
				t.Errorf("NotAfter: got %v; want the certificate's", r.Facts.NotAfter)
			}
			if len(r.Phases) != 2 || r.Phases[0].Name != "connect" || r.Phases[1].Name != "tls" {
				t.Errorf("phases: got %v; want connect, tls", r.Phases)
			}
		})
	}
}

func sameExpiry(at time.Time, c tls.Certificate) bool {
	leaf, err := parseLeaf(c)
	return err == nil && at.Equal(leaf.NotAfter)
}

func TestTLSAsksForTheName(t *testing.T) {
	ca := newCertificates(t)
	good := ca.issue(t, time.Now().Add(time.Hour), "db.example.org")
	for _, tt := range []struct{ config, want string }{{"db.example.org", "db.example.org"}, {"", ""}} {
		asked := make(chan string, 1)
		f := serveFake(t, overTLS(&tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			asked <- h.ServerName
			return &good, nil
		}}, silent))
		judged(t, probe(t, &TLS{Config: &tls.Config{RootCAs: ca.pool, ServerName: tt.config}}, f.Address, patience), Up, "", "")
		if got := <-asked; got != tt.want {
			t.Errorf("SNI: got %q; want %q", got, tt.want)
		}
	}
}

func TestTLSBadServers(t *testing.T) {
	badServers(t, &TLS{}, []malformed{
		{"another protocol", says("HTTP/1.1 400 Bad Request\r\n\r\n"), ReasonTLS, "tls: first record does not look like a TLS handshake"},
		{"silence", silent, ReasonTimeout, "timeout during tls"},
		{"nothing", cuts("", true), ReasonProtocol, "tls: connection closed by the server"},
		{"half a record", cuts("\x16\x03\x03\x40\x00ab", true), ReasonProtocol, "tls: connection closed by the server"},
		{"records without end", floods("", "\x16\x03\x03\x00\x04\x00\x00\x00\x00"), ReasonTLS,
			"tls: received unexpected handshake message of type *tls.helloRequestMsg when waiting for *tls.serverHelloMsg"},
	})
}

func TestExpiryWarning(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name     string
		notAfter time.Time
		want     string
	}{
		{"no certificate", time.Time{}, ""},
		{"expired: the probe says so itself", now.Add(-time.Second), ""},
		{"hours", now.Add(30 * time.Hour), "certificate expires in 30 hours, at 2030-01-02T06:00:00Z"},
		{"days", now.Add(10*24*time.Hour + time.Hour), "certificate expires in 10 days, at 2030-01-11T01:00:00Z"},
		{"far away", now.Add(14 * 24 * time.Hour), ""},
	} {
		if got := expiryWarning(tt.notAfter, now, 14*24*time.Hour); got != tt.want {
			t.Errorf("%s: got %q; want %q", tt.name, got, tt.want)
		}
	}
}

func TestWarnOfExpiry(t *testing.T) {
	ca := newCertificates(t)
	f := serveFake(t, overTLS(&tls.Config{Certificates: []tls.Certificate{ca.issue(t, time.Now().Add(100*time.Hour))}}, silent))
	p := &TLS{Config: &tls.Config{RootCAs: ca.pool}}
	if r := probe(t, WarnOfExpiry(p, 200*time.Hour), f.Address, patience); !strings.HasPrefix(r.Warning, "certificate expires in 4 days") || r.Verdict != Up {
		t.Errorf("got %v, warning %q; want up, in 4 days", r.Verdict, r.Warning)
	}
	if r := probe(t, WarnOfExpiry(p, 50*time.Hour), f.Address, patience); r.Warning != "" {
		t.Errorf("got warning %q; want none", r.Warning)
	}
	if WarnOfExpiry(p, 0) != Prober(p) {
		t.Errorf("0: got another prober; want the same")
	}
}
