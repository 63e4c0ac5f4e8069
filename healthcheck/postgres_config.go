package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
)

// postgresDefaults is pgconn's configuration of which every probe takes a copy.
// pgconn makes one only by ParseConfig, which looks at PGHOST, PGSSLMODE, PGSERVICE
// and their kin as libpq does, into ~/.pgpass and ~/.pg_service.conf too: none of
// that is meant for limeload. What is written here prevails over it, and what cannot
// be written here is set in postgresConfig.
var postgresDefaults = sync.OnceValues(parsePostgresDefaults)

func parsePostgresDefaults() (*pgconn.Config, error) {
	// An absolute path as host keeps it from resolving a name and from TLS, which
	// the exchange has spoken already; a password keeps it from password files.
	settings := "host=/ port=1 user=limeload password=none database=postgres connect_timeout=0" +
		" sslmode=disable sslcertmode=allow sslnegotiation=postgres sslrootcert='' sslcert='' sslkey=''" +
		" target_session_attrs=any min_protocol_version=3.0 max_protocol_version=3.0" +
		" channel_binding=prefer require_auth='' krbsrvname='' krbspn=''"
	if os.Getenv("PGSERVICE") == "" {
		return pgconn.ParseConfig(settings)
	}
	return parseWithService(settings)
}

// parseWithService is for an environment that names a service, which pgconn then
// insists on reading: it gets an empty one, through a pipe.
func parseWithService(settings string) (*pgconn.Config, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	fmt.Fprintln(w, "[limeload]")
	w.Close()
	return pgconn.ParseConfig(fmt.Sprintf("%s service=limeload servicefile=/dev/fd/%d", settings, r.Fd()))
}

// errOneConnection is what pgconn gets when it asks for a second connection.
var errOneConnection = errors.New("a probe has one connection")

// postgresConfig makes pgconn speak over the connection of x, and over nothing else.
// It asks for another one when it gives a session up, to cancel what that may still
// run: from then on it is pgconn that ends the connection.
func postgresConfig(user, password, database string, x *exchange) (*pgconn.Config, error) {
	defaults, err := postgresDefaults()
	if err != nil {
		return nil, &fault{Unknown, ReasonLocal, fmt.Errorf("configure PostgreSQL client: %w", err)}
	}
	c := defaults.Copy()
	c.User, c.Password, c.Database = user, password, database
	c.RuntimeParams = map[string]string{"application_name": "limeload"}
	c.MaxProtocolMessageBodyLen = readLimit
	given := false
	c.DialFunc = func(context.Context, string, string) (net.Conn, error) {
		if given {
			x.link.seal()
			return nil, errOneConnection
		}
		given = true
		return x.conn, nil
	}
	return c, nil
}
