package healthcheck

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// Postgres is the Prober of PostgreSQL servers, and of what speaks for them
// (PgBouncer, say). Its phases are "connect", "tls" (if TLS is set), "auth" and
// "query".
//
// Without a User it sends the packet that opens a session, for user and database
// "postgres", and goes away as soon as the server answers with any request for
// authentication: that is up. A FATAL error is down with its text ("the database
// system is starting up", "sorry, too many clients already", no entry in
// pg_hba.conf). A server that wants a password logs nothing of it, or with
// log_connections one line, "connection received"; one that trusts everybody opens a
// session, which is closed in an orderly way. One that asks the operating system (peer,
// ident) logs that this failed, and is down.
//
// With a User it logs in, by md5 or SCRAM-SHA-256, with channel binding over TLS,
// or by whatever else pgconn knows; reads what kind of server this is; runs the
// Query if there is one; and closes in an orderly way. The server logs no more than
// its settings ask it to log of every session (log_connections, log_statement).
// It needs the right to log in and no other:
//
//	create role limeload login password '...' connection limit 10;
//
// The role is pg_is_in_recovery(). The timeline of a primary is that of the WAL that
// it writes, which is right from the moment of its promotion on; pg_control_checkpoint()
// has the old one until the next checkpoint. A replica's is the newest of which it
// has WAL.
//
// The lag of a replica in bytes is from what it has replayed to what it has
// received or, with the rights of pg_monitor, to what its primary has told it to
// exist. It is 0 in time, too, when these are the same; else, the age of the last
// transaction replayed, by the clocks of both servers. A replica that receives no stream
// knows how much it lacks neither in bytes nor, on an idle primary, in time: it tells the
// age of that transaction. Where a server has not all these functions (Amazon Aurora),
// it tells its role alone.
//
// Nothing of libpq's environment counts: no PGHOST, no ~/.pgpass, no service.
type Postgres struct {
	DB

	// Database is what the probe connects to; "" is "postgres".
	Database string

	// Query is run after login if it is not empty; an error of it is down. Its
	// result is read, up to the bound of 64 KiB for the whole probe, and ignored.
	Query string
}

// Probe asks a.
func (p *Postgres) Probe(ctx context.Context, a Address) Result {
	x := newExchange(ctx, a)
	defer x.close()
	return x.result(p.converse(x))
}

func (p *Postgres) converse(x *exchange) error {
	if p.User == "" && p.asks() {
		return errNobodyAsks
	}
	password, err := p.Password.read()
	if err != nil {
		return err
	}
	if err := x.dial(); err != nil {
		return err
	}
	if err := p.startTLS(x); err != nil {
		return err
	}
	x.begin("auth")
	x.conn = &postgresOpening{Conn: x.conn, link: x.link}
	if p.User == "" {
		return p.knock(x)
	}
	session, err := p.login(x, password)
	if err != nil {
		return err
	}
	defer x.leave(session)
	x.facts.Version = session.ParameterStatus("server_version")
	x.begin("query")
	return p.ask(x, session)
}

// startTLS asks the server for TLS, as libpq does: not on a unix socket.
func (p *Postgres) startTLS(x *exchange) error {
	if p.TLS == nil || x.to.Path != "" {
		return nil
	}
	x.begin("tls")
	request := binary.BigEndian.AppendUint32([]byte{0, 0, 0, 8}, postgresSSLRequest)
	if _, err := x.conn.Write(request); err != nil {
		return err
	}
	// Exactly one byte is read: what would follow it in plain text, somebody in the
	// middle has put there (CVE-2021-23222).
	var answer [1]byte
	if _, err := io.ReadFull(x.conn, answer[:]); err != nil {
		return err
	}
	switch answer[0] {
	case 'S':
		return x.secure(p.TLS)
	case 'N':
		if p.TLSRequired {
			return downf(ReasonTLS, "server has no TLS")
		}
		return nil
	case 'E':
		m, err := readPostgresMessage(io.MultiReader(strings.NewReader("E"), x.conn))
		if err != nil {
			return err
		}
		e := parsePostgresError(m.body)
		return downf(ReasonAnswer, "%s", &e)
	}
	return downf(ReasonProtocol, "%q is no answer to a request for TLS", answer)
}

func (p *Postgres) database() string {
	if p.Database == "" {
		return "postgres"
	}
	return p.Database
}

// knock opens a session without credentials and judges the first answer.
func (p *Postgres) knock(x *exchange) error {
	if _, err := x.conn.Write(startupMessage("postgres", p.database())); err != nil {
		return err
	}
	for {
		m, err := readPostgresMessage(x.conn)
		if err != nil {
			return err
		}
		switch {
		case m.kind == 'E':
			return fatal(m.body)
		case m.kind == 'R' && len(m.body) < 4:
			return downf(ReasonProtocol, "request for authentication has %d bytes", len(m.body))
		case m.kind == 'R' && binary.BigEndian.Uint32(m.body) == 0:
			return greet(x)
		case m.kind == 'R':
			return nil
		case m.kind != 'N' && m.kind != 'v':
			return downf(ReasonProtocol, "message %q comes before authentication", m.kind)
		}
	}
}

// greet takes the rest of what a server says that lets everybody in, and says
// goodbye. That it knows no such user or database (SQLSTATE classes 28 and 3D) is
// not its fault: nobody told the probe of one.
func greet(x *exchange) error {
	for {
		m, err := readPostgresMessage(x.conn)
		if err != nil {
			return err
		}
		switch m.kind {
		case 'E':
			if e := parsePostgresError(m.body); strings.HasPrefix(e.code, "28") || strings.HasPrefix(e.code, "3D") {
				return nil
			}
			return fatal(m.body)
		case 'Z':
			io.WriteString(x.conn, postgresTerminate)
			return nil
		}
	}
}

// fatal is the fault of which an ErrorResponse tells before there is a session.
func fatal(body []byte) error {
	e := parsePostgresError(body)
	if e.message == "" {
		return downf(ReasonProtocol, "error without a text")
	}
	return downf(postgresReason(e.code), "%s", &e)
}

// postgresReason sorts errors by their class: 28 is invalid authorization
// ("Appendix A" of PostgreSQL's manual).
func postgresReason(code string) Reason {
	if strings.HasPrefix(code, "28") {
		return ReasonAuth
	}
	return ReasonAnswer
}

// login opens a session. Its context never ends, because the link does: so pgconn
// starts nothing in the background.
func (p *Postgres) login(x *exchange, password string) (*pgconn.PgConn, error) {
	config, err := postgresConfig(p.User, password, p.database(), x)
	if err != nil {
		return nil, err
	}
	session, err := pgconn.ConnectConfig(context.Background(), config)
	if err != nil {
		return nil, postgresFault(err)
	}
	return session, nil
}

// leave says goodbye, closes the connection, and waits for what pgconn does in the
// background after a session broke.
func (x *exchange) leave(session *pgconn.PgConn) {
	session.Close(context.Background())
	x.close()
	<-session.CleanupDone()
}

// postgresFault is an error of pgconn: the server's own words where there are any,
// else the innermost cause, without the names of users and settings around it.
func postgresFault(err error) error {
	var told *pgconn.PgError
	if errors.As(err, &told) {
		return downf(postgresReason(told.Code), "%s: %s", told.Severity, told.Message)
	}
	var known *fault
	var long *pgproto3.ExceededMaxBodyLenErr
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &long):
		return errTooMuch
	}
	return innermost(err)
}

func innermost(err error) error {
	for {
		var inner error
		switch e := err.(type) {
		case interface{ Unwrap() error }:
			inner = e.Unwrap()
		case interface{ Unwrap() []error }:
			inner = e.Unwrap()[0]
		}
		if inner == nil {
			return fmt.Errorf("%s", strings.TrimSuffix(err.Error(), ": %!w(<nil>)"))
		}
		err = inner
	}
}
