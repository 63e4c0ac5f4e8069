package healthcheck

import (
	"context"
	"crypto/tls"
	"database/sql/driver"
	"errors"
	"io"
	"net"

	"github.com/go-sql-driver/mysql"
)

// MySQL is the Prober of MySQL and MariaDB servers, and of what speaks for them
// (ProxySQL, MaxScale). Its phases are "connect", "greeting", then without a User
// "goodbye", with one "tls" (if TLS is set), "auth" and "query".
//
// Without a User the greeting with which a server begins is enough; an error in
// its place (too many connections, a blocked host) is down with its text. Who then just
// leaves counts as a broken handshake, and a host that does so max_connect_errors
// times in a row is locked out. So the probe goes on to introduce itself, as user
// "limeload-probe" without a password, and is turned away: the handshake is complete,
// and the server counts nothing but an Aborted_connects. MariaDB logs "Access denied
// for user 'limeload-probe'" where log_warnings is 2 or more, which is its default
// (leaving at once would be logged there as well); MySQL does where log_error_verbosity
// is 3, which is not. To keep the log empty, let the user in:
//
//	create user 'limeload-probe'@'...';
//
// With a User it logs in by mysql_native_password, caching_sha2_password,
// client_ed25519 or sha256_password; reads what kind of server this is; runs the
// Query if there is one; and says goodbye. In plain text, caching_sha2_password encrypts
// the password with a key that the server sends, which somebody in the middle can
// replace: use TLS. A password in plain text (mysql_clear_password) is never sent.
// The rights that it needs, and what they are for:
//
//	create user limeload identified by '...';
//	grant replication client on *.* to limeload;  -- lag, MySQL
//	grant slave monitor on *.* to limeload;       -- lag, MariaDB from 10.5.9 on
//
// A server with read_only (super_read_only implies it) is a replica, any other one a
// primary. The lag of a replica is Seconds_Behind_Source, the greatest of all
// channels; bytes are not known. It is not known while a thread of replication does
// not run, where nothing replicates, and without the right to ask.
type MySQL struct {
	DB

	// Query is run after login if it is not empty; an error of it is down. Its
	// result is read, up to the bound of 64 KiB for the whole probe, and ignored.
	Query string
}

// Probe asks a.
func (m *MySQL) Probe(ctx context.Context, a Address) Result {
	x := newExchange(ctx, a)
	defer x.close()
	return x.result(m.converse(x))
}

func (m *MySQL) converse(x *exchange) error {
	if m.User == "" && m.asks() {
		return errNobodyAsks
	}
	password, err := m.Password.read()
	if err != nil {
		return err
	}
	if err := x.dial(); err != nil {
		return err
	}
	x.begin("greeting")
	sequence, body, err := readMySQLGreeting(x.conn)
	if err != nil {
		return err
	}
	greeting, err := parseMySQLGreeting(body)
	if err != nil {
		return err
	}
	x.facts.Version = greeting.version
	if m.User == "" {
		x.begin("goodbye")
		leaveMySQL(x.conn, sequence, &greeting)
		return nil
	}
	config, err := m.config(x, &greeting, password)
	if err != nil {
		return err
	}
	conn := &mysqlConn{link: x.link, opaque: config.TLS != nil}
	conn.ready.Write(appendMySQLPacket(nil, sequence, body))
	config.DialFunc = func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	return m.session(x, conn, config)
}

// leaveMySQL ends a handshake that began with greeting as politely as is possible
// without credentials. Whether the server understands does not matter any more.
func leaveMySQL(conn io.ReadWriter, sequence byte, greeting *mysqlGreeting) {
	answer := mysqlStranger(greeting)
	for range 4 { // the methods that a server may try
		if _, err := conn.Write(appendMySQLPacket(nil, sequence+1, answer)); err != nil {
			return
		}
		next, body, err := readMySQLPacket(conn)
		switch {
		case err != nil:
			return
		case body[0] == mysqlOK:
			io.WriteString(conn, mysqlQuit)
			return
		case body[0] != mysqlSwitch && body[0] != mysqlMoreData:
			return
		}
		sequence, answer = next, nil // to any method: an empty password
	}
}

// config makes the driver log in over the connection of x.
func (m *MySQL) config(x *exchange, greeting *mysqlGreeting, password string) (*mysql.Config, error) {
	c := mysql.NewConfig()
	c.User, c.Passwd = m.User, password
	c.Net, c.Addr = "tcp", "limeload:1" // for the driver's own use; the connection is there
	c.Logger = &mysql.NopLogger{}
	c.MaxAllowedPacket = readLimit
	if m.TLS == nil || x.to.Path != "" {
		if x.to.Path != "" {
			c.Net, c.Addr = "unix", x.to.Path // may be trusted with a password in plain text
		}
		x.begin("auth")
		return c, nil
	}
	x.begin("tls")
	if greeting.capabilities&mysqlTLS == 0 {
		if m.TLSRequired {
			return nil, downf(ReasonTLS, "server has no TLS")
		}
		x.begin("auth")
		return c, nil
	}
	c.TLS = verifying(m.TLS, x.to).Clone()
	verify := c.TLS.VerifyConnection
	c.TLS.VerifyConnection = func(s tls.ConnectionState) error {
		x.noteCertificate(s.PeerCertificates)
		if verify != nil {
			if err := verify(s); err != nil {
				return err
			}
		}
		x.begin("auth") // nothing but the end of the handshake comes in between
		return nil
	}
	return c, nil
}

// session logs in, asks and says goodbye. The context of the driver never ends,
// because the link does. A malformed answer may make the driver panic; see mysqlConn.
func (m *MySQL) session(x *exchange, link *mysqlConn, config *mysql.Config) (err error) {
	defer func() {
		if recover() != nil {
			err = downf(ReasonProtocol, "%s: the answer is malformed", x.phases[len(x.phases)-1].Name)
		}
	}()
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return &fault{Unknown, ReasonLocal, err}
	}
	conn, err := connector.Connect(context.Background())
	switch {
	case err != nil && x.phases[len(x.phases)-1].Name == "tls":
		return x.tlsFault(err)
	case err != nil:
		return driverFault(err)
	}
	defer conn.Close()
	link.session = true
	x.begin("query")
	return m.ask(x, conn.(driver.QueryerContext))
}

// driverFault is an error of the driver, in the server's own words where there are
// any.
func driverFault(err error) error {
	var told *mysql.MySQLError
	if errors.As(err, &told) {
		return mysqlFault(told.Number, told.Message)
	}
	return err
}

// mysqlTable is the result of a query: rows by the names of their columns. A null is
// left out.
type mysqlTable []map[string]string

func queryMySQL(conn driver.QueryerContext, query string) (mysqlTable, error) {
	rows, err := conn.QueryContext(context.Background(), query, nil)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	columns := rows.Columns()
	values := make([]driver.Value, len(columns))
	var table mysqlTable
	for {
		err := rows.Next(values)
		if err == io.EOF {
			return table, nil
		}
		if err != nil {
			return nil, err
		}
		row := make(map[string]string, len(columns))
		for i, v := range values {
			if v != nil {
				row[columns[i]] = mysqlText(v)
			}
		}
		table = append(table, row)
	}
}
