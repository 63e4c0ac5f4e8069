package healthcheck

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

// answers reads one request and writes text.
func answers(text string) func(net.Conn) {
	return func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			says(text)(c)
		}
	}
}

func TestHTTP(t *testing.T) {
	ok := "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
	for _, tt := range []struct {
		name, reply string
		prober      HTTP
		text        string
	}{
		{"200", ok, HTTP{}, ""},
		{"204 without a body", "HTTP/1.1 204 No Content\r\n\r\n", HTTP{}, ""},
		{"a redirect is not followed", "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", HTTP{}, ""},
		{"503", "HTTP/1.1 503 \x1b[31mevil\r\nContent-Length: 0\r\n\r\n", HTTP{}, "status 503 Service Unavailable"},
		{"a status out of the ranges", ok, HTTP{Status: []StatusRange{{201, 299}}}, "status 200 OK"},
		{"a status in one of them", "HTTP/1.1 418 x\r\nContent-Length: 0\r\n\r\n", HTTP{Status: []StatusRange{{200, 200}, {400, 418}}}, ""},
		{"a status that has no name", "HTTP/1.1 599 x\r\nContent-Length: 0\r\n\r\n", HTTP{}, "status 599"},
		{"hints before the answer", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok, HTTP{Body: "hello"}, ""},
		{"hints alone", strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 9) + ok, HTTP{}, "http: no answer after 8 interim ones"},
		{"an old server", "HTTP/1.0 200 OK\r\n\r\n", HTTP{Method: "HEAD"}, ""},
		{"HEAD has no body", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", HTTP{Method: "HEAD"}, ""},
		{"the body has the text", ok, HTTP{Body: "ell"}, ""},
		{"the body lacks the text", ok, HTTP{Body: "help"}, `body without "help"`},
		{"the body matches", ok, HTTP{BodyRegexp: regexp.MustCompile(`^h.*o$`)}, ""},
		{"the body does not match", ok, HTTP{BodyRegexp: regexp.MustCompile(`^x`)}, `body does not match "^x"`},
		{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", HTTP{Body: "hello"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for how, serve := range map[string]func(net.Conn){"at once": answers(tt.reply), "byte by byte": drips(tt.reply)} {
				f := serveFake(t, serve)
				if strings.HasPrefix(tt.reply, "HTTP/1.0") {
					f = serveFake(t, cuts(tt.reply, true))
				}
				r := probe(t, &tt.prober, f.Address, patience)
				if (r.Verdict == Up) != (tt.text == "") || r.Text() != tt.text {
					t.Errorf("%s: got %v, %q; want %q", how, r.Verdict, r.Text(), tt.text)
				}
				waitUntil(t, "the connection is closed", func() bool { return f.conns.Load() == 0 })
			}
		})
	}
}

func TestHTTPRequest(t *testing.T) {
	requests := make(chan *http.Request, 1)
	serve := func(c net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			t.Error(err)
		}
		requests <- r
		says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")(c)
	}
	f := serveFake(t, serve)
	word := func(s string) Secret { return Literal(s) }

	judged(t, probe(t, &HTTP{}, f.Address, patience), Up, "", "")
	if r := <-requests; r.Method != "GET" || r.RequestURI != "/" || r.Host != f.String() || !r.Close || r.UserAgent() != "limeload" {
		t.Errorf("got %s %s, host %s, close %v, agent %s; want GET /, the address, a last request, limeload", r.Method, r.RequestURI, r.Host, r.Close, r.UserAgent())
	}

	judged(t, probe(t, &HTTP{
		Method: "OPTIONS", Path: "/replica?lag=1MB", Host: "patroni", User: "u", Password: word("p"),
		Headers: []Header{{"X-Token", word("t")}, {"Accept", word("text/plain")}, {"X-None", nil}},
	}, f.Address, patience), Up, "", "")
	r := <-requests
	if r.Method != "OPTIONS" || r.RequestURI != "/replica?lag=1MB" || r.Host != "patroni" {
		t.Errorf("got %s %s, host %s; want what was asked for", r.Method, r.RequestURI, r.Host)
	}
	user, password, _ := r.BasicAuth()
	if user != "u" || password != "p" || r.Header.Get("X-Token") != "t" || r.Header.Get("Accept") != "text/plain" || r.Header["X-None"] != nil {
		t.Errorf("got headers %v; want all that were asked for", r.Header)
	}

	judged(t, probe(t, &HTTP{Password: word("token")}, f.Address, patience), Up, "", "")
	if r := <-requests; r.Header.Get("Authorization") != "Bearer token" {
		t.Errorf("got authorization %q; want a bearer token", r.Header.Get("Authorization"))
	}

	socket := serveFakeUnix(t, serve)
	judged(t, probe(t, &HTTP{}, socket.Address, patience), Up, "", "")
	if r := <-requests; r.Host != "localhost" {
		t.Errorf("unix socket: got host %q; want localhost", r.Host)
	}

	missing := errors.New("no such file")
	judged(t, probe(t, &HTTP{Password: func() (string, error) { return "", missing }}, f.Address, patience),
		Unknown, ReasonLocal, "read password: no such file")
}

func TestHTTPS(t *testing.T) {
	ca := newCertificates(t)
	server := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, time.Now().Add(time.Hour), "web.example.org")}}
	f := serveFake(t, overTLS(server, answers("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")))
	r := probe(t, &HTTP{TLS: &tls.Config{RootCAs: ca.pool, ServerName: "web.example.org"}, Body: "ok"}, f.Address, patience)
	judged(t, r, Up, "", "")
	if len(r.Phases) != 3 || r.Phases[1].Name != "tls" || r.Phases[2].Name != "http" || r.Facts.NotAfter.IsZero() {
		t.Errorf("got phases %v, certificate until %v; want connect, tls, http and a time", r.Phases, r.Facts.NotAfter)
	}
	r = probe(t, &HTTP{TLS: &tls.Config{ServerName: "web.example.org"}}, f.Address, patience)
	if r.Verdict != Down || r.Reason != ReasonTLS {
		t.Errorf("unknown authority: got %v, %q; want down, tls", r.Verdict, r.Reason)
	}
}

func TestHTTPBadServers(t *testing.T) {
	badServers(t, &HTTP{Body: "ok"}, []malformed{
		{"another protocol", says(garbage), ReasonProtocol, `http: malformed HTTP response "J\x00\x00\x00"`},
		{"another protocol, in lines", says("220 mail.example.org ESMTP\r\n"), ReasonProtocol, `http: malformed HTTP status code "mail.example.org"`},
		{"silence", silent, ReasonTimeout, "timeout during http"},
		{"nothing", cuts("", true), ReasonProtocol, "http: connection closed by the server"},
		{"half a status", cuts("HTTP/1.1 20", true), ReasonProtocol, "http: connection closed by the server"},
		{"half a header", cuts("HTTP/1.1 200 OK\r\nContent-Le", true), ReasonProtocol, "http: connection closed by the server"},
		{"half a body", cuts("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nok", true), ReasonProtocol, "http: body ends early"},
		{"half a chunk", cuts("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\nok", true), ReasonProtocol, "http: body ends early"},
		{"a status without end", floods("HTTP/1.1 200 ", "OK"), ReasonProtocol, "reply is longer than 65536 bytes"},
		{"headers without end", floods("HTTP/1.1 200 OK\r\n", "X: y\r\n"), ReasonProtocol, "reply is longer than 65536 bytes"},
		{"a body without end", floods("HTTP/1.1 200 OK\r\n\r\n", "no"), ReasonAnswer, `body without "ok"`},
		{"a body that does not come", says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"), ReasonTimeout, "timeout during http"},
	})
}

func TestHTTPReadsNoMoreThanItsBound(t *testing.T) {
	f := serveFake(t, floods("HTTP/1.1 200 OK\r\n\r\n", strings.Repeat("x", 1000)))
	judged(t, probe(t, &HTTP{}, f.Address, patience), Up, "", "")

	at := readLimit - len("HTTP/1.1 200 OK\r\n\r\n") - len("needle")
	body := strings.Repeat("x", at) + "needle"
	f = serveFake(t, floods("HTTP/1.1 200 OK\r\n\r\n"+body, "x"))
	judged(t, probe(t, &HTTP{Body: "needle"}, f.Address, patience), Up, "", "")
	f = serveFake(t, floods("HTTP/1.1 200 OK\r\n\r\nx"+body, "x"))
	judged(t, probe(t, &HTTP{Body: "needle"}, f.Address, patience), Down, ReasonAnswer, `body without "needle"`)
}

// net/http's own server as a second opinion.
func TestHTTPAgainstARealServer(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0")
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "fine") })
	server := &http.Server{Handler: mux}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	defer func() {
		server.Close()
		<-done
	}()
	for range 3 {
		judged(t, probe(t, &HTTP{Path: "/healthz", Body: "fine"}, tcpAddress(l), patience), Up, "", "")
	}
	judged(t, probe(t, &HTTP{Path: "/nothing"}, tcpAddress(l), patience), Down, ReasonAnswer, "status 404 Not Found")
}
