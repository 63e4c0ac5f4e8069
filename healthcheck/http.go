package healthcheck

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// HTTP is the Prober that makes one request of HTTP/1.1 and looks at the answer: its
// status, and if asked its body. Its phases are "connect", "tls" (if TLS is set) and
// "http".
//
// Redirects are not followed: 301 is an answer like any other, good if Status has it.
// The connection serves one request ("Connection: close"). At most 64 KiB are read,
// headers and TLS included; what follows is not looked at. A body that is shorter than
// its header says is down: the server, or what stands between, cut it.
type HTTP struct {
	Method string // "" is GET
	Path   string // with a query, if any; "" is /

	// Host is the Host header; "" is the probed address, or "localhost" for a unix
	// socket.
	Host string

	// Headers are sent besides Host, User-Agent and Connection, which they replace.
	Headers []Header

	// User and Password are for basic authentication; a Password alone is a bearer
	// token.
	User     string
	Password Secret

	// TLS makes it https; nil is plain text.
	TLS *tls.Config

	Status []StatusRange // the good ones; none is 200 to 399

	// Body has to be in the body; "" asks for nothing.
	Body string

	// BodyRegexp has to match in the body; nil asks for nothing.
	BodyRegexp *regexp.Regexp
}

// Header is a header of a request; a nil Value leaves it away.
type Header struct {
	Name  string
	Value Secret
}

// StatusRange is a range of HTTP's status codes, both ends included.
type StatusRange struct{ First, Last int }

// Probe asks a.
func (p *HTTP) Probe(ctx context.Context, a Address) Result {
	x := newExchange(ctx, a)
	defer x.close()
	return x.result(p.converse(x))
}

func (p *HTTP) converse(x *exchange) error {
	request, err := p.request(x.to)
	if err != nil {
		return err
	}
	if err := x.dial(); err != nil {
		return err
	}
	if p.TLS != nil {
		if err := x.encrypt(p.TLS); err != nil {
			return err
		}
	}
	x.begin("http")
	if err := request.Write(x.conn); err != nil {
		return err
	}
	if err := p.judge(x, request); err != nil {
		return err
	}
	x.leaveTLS()
	return nil
}

// request is what to send.
func (p *HTTP) request(to Address) (*http.Request, error) {
	target, err := url.ParseRequestURI(orElse(p.Path, "/"))
	if err != nil {
		return nil, localf("read path: %v", err)
	}
	r := &http.Request{
		Method: orElse(p.Method, http.MethodGet), URL: target, Host: orElse(p.Host, authority(to)),
		ProtoMajor: 1, ProtoMinor: 1, Close: true,
		Header: http.Header{"User-Agent": {"limeload"}},
	}
	password, err := p.Password.read()
	switch {
	case err != nil:
		return nil, err
	case p.User != "":
		r.SetBasicAuth(p.User, password)
	case password != "":
		r.Header.Set("Authorization", "Bearer "+password)
	}
	for _, h := range p.Headers {
		if h.Value == nil {
			continue
		}
		value, err := h.Value.read()
		if err != nil {
			return nil, err
		}
		r.Header.Set(h.Name, value)
	}
	return r, nil
}

func orElse(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

// authority is the Host header for an address.
func authority(to Address) string {
	if to.Path != "" {
		return "localhost"
	}
	return to.AddrPort.String()
}

// judge reads the answer and says what is wrong with it.
func (p *HTTP) judge(x *exchange, request *http.Request) error {
	reply, err := readReply(bufio.NewReader(x.conn), request)
	if err != nil {
		return x.httpFault(err)
	}
	defer reply.Body.Close()
	if !p.accepts(reply.StatusCode) {
		return downf(ReasonAnswer, "status %s", statusText(reply.StatusCode))
	}
	if p.Body == "" && p.BodyRegexp == nil {
		_, err = io.Copy(io.Discard, reply.Body)
		return x.bodyFault(err)
	}
	body, err := io.ReadAll(reply.Body)
	if err := x.bodyFault(err); err != nil {
		return err
	}
	return p.matches(body)
}

// maxInterim is how many interim answers (103 Early Hints, say) may come before the
// real one.
const maxInterim = 8

// readReply reads up to the first answer that is final.
func readReply(r *bufio.Reader, request *http.Request) (*http.Response, error) {
	for range maxInterim {
		reply, err := http.ReadResponse(r, request)
		if err != nil || reply.StatusCode >= 200 || reply.StatusCode == http.StatusSwitchingProtocols {
			return reply, err
		}
	}
	return nil, downf(ReasonProtocol, "http: no answer after %d interim ones", maxInterim)
}

// httpFault is the error of an answer that cannot be read. What broke the connection,
// if anything did, says more.
func (x *exchange) httpFault(err error) error {
	var known *fault
	if x.link.failed() != nil || errors.As(err, &known) {
		return err
	}
	return downf(ReasonProtocol, "http: %s", printable(err.Error(), maxText))
}

// bodyFault is what is wrong with a body. That it goes on beyond what is read is not.
func (x *exchange) bodyFault(err error) error {
	switch {
	case err == nil || errors.Is(err, errTooMuch):
		return nil
	case errors.Is(err, io.ErrUnexpectedEOF):
		return downf(ReasonProtocol, "http: body ends early")
	}
	return x.httpFault(err)
}

func (p *HTTP) accepts(status int) bool {
	if len(p.Status) == 0 {
		return status >= 200 && status <= 399
	}
	for _, r := range p.Status {
		if status >= r.First && status <= r.Last {
			return true
		}
	}
	return false
}

func (p *HTTP) matches(body []byte) error {
	switch {
	case !bytes.Contains(body, []byte(p.Body)):
		return downf(ReasonAnswer, "body without %q", printable(p.Body, maxText))
	case p.BodyRegexp != nil && !p.BodyRegexp.Match(body):
		return downf(ReasonAnswer, "body does not match %q", printable(p.BodyRegexp.String(), maxText))
	}
	return nil
}

// statusText is a status with HTTP's own word for it, not the server's.
func statusText(code int) string {
	return strings.TrimSpace(fmt.Sprint(code, " ", http.StatusText(code)))
}
