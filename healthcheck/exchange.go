package healthcheck

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// readLimit is how many bytes a probe reads from its connection, TLS included. No
// server that is asked so little has more to say.
const readLimit = 64 << 10

// errTooMuch is a reply without end.
var errTooMuch = downf(ReasonProtocol, "reply is longer than %d bytes", readLimit)

// exchange is one probe over one connection. Each phase begins where the one before
// it ends:
//
//	connect ── greeting ── tls ── auth ── query
//
// A Prober begins the phases that its protocol has, and returns with the first
// error; the exchange makes the Result of it.
type exchange struct {
	ctx    context.Context
	to     Address
	link   *link    // nil before dial
	conn   net.Conn // link, or TLS over it
	facts  Facts
	phases []Phase
	start  time.Time
	since  time.Time // when the last of phases began
}

func newExchange(ctx context.Context, to Address) *exchange {
	return &exchange{ctx: ctx, to: to, start: time.Now()}
}

// begin ends the phase before and begins the next one.
func (x *exchange) begin(phase string) {
	x.end()
	x.phases = append(x.phases, Phase{Name: phase})
}

func (x *exchange) end() {
	now := time.Now()
	if n := len(x.phases); n > 0 {
		x.phases[n-1].Took = now.Sub(x.since)
	}
	x.since = now
}

// dial is the phase "connect". The caller closes the exchange's link, whatever dial
// returns.
func (x *exchange) dial() error {
	x.begin("connect")
	conn, err := dialAddress(x.ctx, x.to)
	if err != nil {
		return fmt.Errorf("connect %s: %w", x.to, err)
	}
	x.link = newLink(x.ctx, conn)
	x.conn = x.link
	return nil
}

// dialAddress connects; its error is a bare one.
func dialAddress(ctx context.Context, to Address) (net.Conn, error) {
	var d net.Dialer
	if to.Path != "" {
		conn, err := d.DialContext(ctx, "unix", to.Path)
		if err != nil {
			return nil, unixCause(err)
		}
		return conn, nil
	}
	d.SetMultipathTCP(false)
	conn, err := d.DialContext(ctx, "tcp", to.AddrPort.String())
	if err != nil {
		return nil, cause(err)
	}
	if conn.LocalAddr().String() == conn.RemoteAddr().String() {
		conn.Close()
		return nil, errSelfConnect
	}
	return conn, nil
}

// secure speaks TLS from here on. The phase "tls" has begun, with whatever the
// protocol says in plain text before.
func (x *exchange) secure(config *tls.Config) error {
	conn := tls.Client(x.link, verifying(config, x.to))
	x.conn = conn
	err := conn.Handshake()
	x.noteCertificate(conn.ConnectionState().PeerCertificates)
	return x.tlsFault(err)
}

// tlsFault is an error of a handshake: the network's, or TLS's own. A certificate
// that is not trusted is noted, too.
func (x *exchange) tlsFault(err error) error {
	var refused *tls.CertificateVerificationError
	if errors.As(err, &refused) {
		x.noteCertificate(refused.UnverifiedCertificates)
	}
	if err != nil && x.link.failed() == nil {
		return &fault{Down, ReasonTLS, err}
	}
	return err
}

// noteCertificate notes when the certificate that a server showed expires.
func (x *exchange) noteCertificate(chain []*x509.Certificate) {
	if len(chain) > 0 {
		x.facts.NotAfter = chain[0].NotAfter
	}
}

// verifying is config for a server at an address.
func verifying(config *tls.Config, to Address) *tls.Config {
	if config.ServerName != "" {
		return config
	}
	config = config.Clone()
	config.ServerName = to.AddrPort.Addr().Unmap().WithZone("").String()
	return config
}

// close closes the connection, if there is one.
func (x *exchange) close() {
	if x.link != nil {
		x.link.Close()
	}
}

// result is what the exchange came to. What broke the connection says more than
// what a library makes of it, and anything else that is wrong with an answer is that
// it does not belong to the protocol. What the server said is shortened: the result is
// kept, logged and shown.
func (x *exchange) result(err error) Result {
	x.end()
	x.facts.Version = strings.Clone(printable(x.facts.Version, maxText)) // not a part of all that was read
	r := Result{Address: x.to, Err: err, Facts: x.facts, Phases: x.phases, Took: x.since.Sub(x.start)}
	var known *fault
	if err != nil && x.link != nil && !errors.As(err, &known) {
		r.Err = x.answered(err)
	}
	r.Verdict, r.Reason = judge(x.ctx, r.Err)
	if err := r.Err; err != nil && err.Error() != printable(err.Error(), maxReason) {
		r.Err = &fault{r.Verdict, r.Reason, errors.New(printable(err.Error(), maxReason))}
	}
	return r
}

// answered is the error of a conversation that began.
func (x *exchange) answered(err error) error {
	phase := x.phases[len(x.phases)-1].Name
	switch failed := x.link.failed(); {
	case isAny(failed, io.EOF, io.ErrUnexpectedEOF):
		return downf(ReasonProtocol, "%s: connection closed by the server", phase)
	case failed != nil:
		return failed
	}
	return downf(ReasonProtocol, "%s: %w", phase, err)
}

// link is the connection of one exchange. It ends with the context, whatever
// deadlines the code above it sets, and after readLimit bytes; and it remembers what
// broke it.
type link struct {
	net.Conn
	left int // bytes that may still be read
	stop func() bool

	mu     sync.Mutex // a library may still say goodbye while the result is made
	first  error      // of Read or Write
	sealed bool       // what happens now is not the server's doing
}

func newLink(ctx context.Context, conn net.Conn) *link {
	l := &link{Conn: conn, left: readLimit}
	l.stop = context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	return l
}

func (l *link) Read(b []byte) (int, error) {
	if l.left == 0 {
		l.fail(errTooMuch)
		return 0, errTooMuch
	}
	n, err := l.Conn.Read(b[:min(len(b), l.left)])
	l.left -= n
	l.fail(err)
	return n, err
}

func (l *link) Write(b []byte) (int, error) {
	n, err := l.Conn.Write(b)
	l.fail(err)
	return n, err
}

func (l *link) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil && l.first == nil && !l.sealed {
		l.first = err
	}
}

// seal says that the conversation is over: errors are not remembered from here on.
func (l *link) seal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sealed = true
}

// failed is what broke the connection; nil if nothing did.
func (l *link) failed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first
}

func (l *link) Close() error {
	l.seal()
	l.stop()
	return l.Conn.Close()
}

// Only the context sets deadlines.
func (l *link) SetDeadline(time.Time) error      { return nil }
func (l *link) SetReadDeadline(time.Time) error  { return nil }
func (l *link) SetWriteDeadline(time.Time) error { return nil }
