package healthcheck

import (
	"context"
	"crypto/tls"
	"strings"
)

// TLS is the Prober for which a TLS handshake is enough: the server's certificate is
// trusted, has the right name and is valid today, and the server speaks one of the
// protocols that are offered. When the certificate expires is in Facts.NotAfter, also
// where the certificate was refused. Its phases are "connect" and "tls".
//
// The probe ends with a close_notify, as a client does that is done: most servers log
// nothing, and some a client that sent no request.
type TLS struct {
	// Config says what is offered and how the server is verified; nil is the system's
	// authorities. An empty ServerName is the probed address.
	Config *tls.Config
}

// Probe shakes hands with a.
func (p *TLS) Probe(ctx context.Context, a Address) Result {
	x := newExchange(ctx, a)
	defer x.close()
	return x.result(p.converse(x))
}

func (p *TLS) converse(x *exchange) error {
	if err := x.dial(); err != nil {
		return err
	}
	config := p.Config
	if config == nil {
		config = &tls.Config{}
	}
	if err := x.encrypt(config); err != nil {
		return err
	}
	x.leaveTLS()
	return nil
}

// encrypt is the phase "tls" of a server that speaks TLS from its first byte on. One of
// the protocols in config, if there are any, has to be chosen.
func (x *exchange) encrypt(config *tls.Config) error {
	x.begin("tls")
	if err := x.secure(config); err != nil {
		return err
	}
	if len(config.NextProtos) > 0 && x.conn.(*tls.Conn).ConnectionState().NegotiatedProtocol == "" {
		return downf(ReasonTLS, "server speaks none of %s", strings.Join(config.NextProtos, ", "))
	}
	return nil
}

// leaveTLS tells a server that speaks TLS that nothing more will come. Without that, it
// cannot tell a client that is done from an attack (RFC 8446 section 6.1).
func (x *exchange) leaveTLS() {
	if conn, ok := x.conn.(*tls.Conn); ok {
		conn.CloseWrite()
	}
}
