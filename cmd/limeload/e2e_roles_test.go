//go:build linux

package main_test

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/limeload/limeload/pkg/testserver"
)

// sure is how many sessions in a row have to reach the same server before a test
// believes that others do not get any.
const sure = 20

// Through promotion, the return of the old primary, and its demotion, sessions of the
// primary's listener reach the primary alone, and those of the replicas' listener
// replicas.
func TestPostgresRoles(t *testing.T) {
	t.Parallel()
	first := testserver.StartPostgres(t)
	second := first.StartReplica(t)
	r := serveRoles(t, postgresRoles, first, second)
	t.Run("at the start", func(t *testing.T) {
		r.reaches(t, "primary", first)
		r.reaches(t, "replica", second)
	})
	t.Run("no session for a standby while the primary is dead", func(t *testing.T) {
		first.Kill()
		r.await(fields{"msg": "backend down", "pool": "primary", "backend": nameOf(first)})
		for range sure {
			if server, err := r.ask(t, "primary"); err == nil {
				t.Fatalf("got %s; want no server", server)
			}
		}
		r.reaches(t, "replica", second)
	})
	t.Run("after a promotion", func(t *testing.T) {
		second.Promote()
		r.reaches(t, "primary", second)
		r.refuses(t, "replica")
	})
	t.Run("two primaries: the higher timeline", func(t *testing.T) {
		first.Restart()
		r.await(fields{"msg": "split: several backends claim to be the primary"})
		r.reaches(t, "primary", second)
	})
	t.Run("after the old one is demoted", func(t *testing.T) {
		first.Demote(second)
		r.await(fields{"msg": "split over"})
		r.reaches(t, "primary", second)
		r.reaches(t, "replica", first)
	})
}

// Two servers that were promoted from the same place have the same timeline: nobody
// can say which one is right, and neither gets a session.
func TestPostgresSplitAtOneTimeline(t *testing.T) {
	t.Parallel()
	first := testserver.StartPostgres(t)
	second, third := first.StartReplica(t), first.StartReplica(t)
	r := serveRoles(t, postgresRoles, first, second, third)
	r.reaches(t, "primary", first)
	first.Kill()
	second.Promote()
	third.Promote()
	r.await(fields{"msg": "split: several backends claim to be the primary"})
	r.refuses(t, "primary")
}

// Redis has no timelines: when the old primary comes back, nobody can say which one is
// right until it is demoted.
func TestRedisRoles(t *testing.T) {
	t.Parallel()
	first := testserver.StartRedis(t)
	second := first.StartReplica(t)
	r := serveRoles(t, redisRoles, first, second)
	r.story(t, roleStory{
		first: first, second: second, kill: first.Kill,
		promote: func() { second.Do("replicaof", "no", "one") },
		restart: func() { first.Restart("Ready to accept connections") },
		demote:  func() { first.Do("replicaof", "127.0.0.1", nameOf(second)) },
	})
}

// Nor has MariaDB: who may be written to is its primary.
func TestMariaDBRoles(t *testing.T) {
	t.Parallel()
	first := testserver.StartMariaDB(t)
	first.SQL("create user limeload") // and so on the replica
	second := first.StartReplica(t, "read-only=1")
	r := serveRoles(t, mysqlRoles, first, second)
	r.story(t, roleStory{
		first: first, second: second, kill: first.Kill,
		promote: func() { second.SQL("stop slave", "reset slave all", "set global read_only = 0") },
		restart: first.Restart,
		demote:  func() { first.SQL("set global read_only = 1") },
	})
}

// roleStory is the death of a primary, and what people do about it.
type roleStory struct {
	first, second                  roleServer // the primary, and a replica of it
	kill, promote, restart, demote func()
}

// story tells it, of servers without timelines.
func (r *rolesCase) story(t *testing.T, s roleStory) {
	t.Run("at the start", func(t *testing.T) {
		r.reaches(t, "primary", s.first)
		r.reaches(t, "replica", s.second)
	})
	t.Run("no session for a replica while the primary is dead", func(t *testing.T) {
		s.kill()
		r.await(fields{"msg": "backend down", "pool": "primary", "backend": nameOf(s.first)})
		r.refuses(t, "primary")
		r.reaches(t, "replica", s.second)
	})
	t.Run("after a promotion", func(t *testing.T) {
		s.promote()
		r.reaches(t, "primary", s.second)
		r.refuses(t, "replica")
	})
	t.Run("two primaries: neither", func(t *testing.T) {
		s.restart()
		r.await(fields{"msg": "split: several backends claim to be the primary"})
		r.refuses(t, "primary")
	})
	t.Run("after the old one is demoted", func(t *testing.T) {
		s.demote()
		r.await(fields{"msg": "split over"})
		r.reaches(t, "primary", s.second)
		r.reaches(t, "replica", s.first)
	})
}

// roleServer is a server that may be a primary or a replica.
type roleServer interface{ Address() string }

// nameOf is a server's port.
func nameOf(s roleServer) string {
	_, port, _ := net.SplitHostPort(s.Address())
	return port
}

// roleKind is what differs between kinds of servers.
type roleKind struct {
	health string                                                    // further keys of the probe
	name   func(ctx context.Context, address string) (string, error) // of the server that a session reaches
}

var (
	postgresRoles = roleKind{`type = "postgres", user = "postgres"`, postgresName}
	mysqlRoles    = roleKind{`type = "mysql", user = "limeload"`, mysqlName}
	redisRoles    = roleKind{`type = "redis"`, redisName}
)

func postgresName(ctx context.Context, address string) (name string, err error) {
	c, err := pgx.Connect(ctx, fmt.Sprintf("postgres://postgres@%s/postgres?sslmode=disable", address))
	if err != nil {
		return "", err
	}
	defer c.Close(context.Background())
	err = c.QueryRow(ctx, "select inet_server_port()::text").Scan(&name)
	return name, err
}

func mysqlName(ctx context.Context, address string) (name string, err error) {
	c := mysql.NewConfig()
	c.User, c.Net, c.Addr, c.Logger = "limeload", "tcp", address, &mysql.NopLogger{}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return "", err
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	err = db.QueryRowContext(ctx, "select @@port").Scan(&name)
	return name, err
}

func redisName(ctx context.Context, address string) (name string, err error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return "", err
	}
	defer c.Close()
	deadline, _ := ctx.Deadline()
	c.SetDeadline(deadline)
	var key, size int
	_, err = fmt.Fprint(c, "CONFIG GET port\r\n")
	if err == nil {
		_, err = fmt.Fscanf(c, "*2\r\n$%d\r\nport\r\n$%d\r\n%s\r\n", &key, &size, &name)
	}
	return name, err
}

// rolesCase is limeload with a listener for the primary and one for replicas.
type rolesCase struct {
	*limeload
	kind roleKind
}

func serveRoles[S roleServer](t *testing.T, kind roleKind, servers ...S) *rolesCase {
	t.Helper()
	var backends strings.Builder
	for _, s := range servers {
		fmt.Fprintf(&backends, "[[pool.backend]]\nname = %q\naddress = %q\n", nameOf(s), s.Address())
	}
	var config strings.Builder
	for _, role := range []string{"primary", "replica"} {
		fmt.Fprintf(&config, `
			[[listener]]
			name = %[1]q
			listen = ["127.0.0.1:0"]
			pool = %[1]q
			[[pool]]
			name = %[1]q
			breaker = { enabled = false }
			health = { role = %[1]q, %[2]s, %[4]s }
			%[3]s
		`, role, kind.health, backends.String(), patientProbes)
	}
	return &rolesCase{serve(t, "splice", config.String()), kind}
}

// patientProbes give a server on a busy machine two seconds to answer, three times, and see
// soon what has changed all the same.
const patientProbes = `interval = "2s", timeout = "2s", fast_interval = "250ms", down_interval = "250ms", rise = 1, fall = 3`

// ask answers the name of the server that a session of a listener reaches.
func (r *rolesCase) ask(t *testing.T, listener string) (string, error) {
	return r.kind.name(waiting(t), r.address(listener))
}

// reaches waits until a session of the listener reaches the server; from then on all
// of them must.
func (r *rolesCase) reaches(t *testing.T, listener string, server roleServer) {
	t.Helper()
	want := nameOf(server)
	eventually(t, "a session reaches "+want, func() bool {
		got, err := r.ask(t, listener)
		return err == nil && got == want
	})
	for range sure {
		if got, err := r.ask(t, listener); err != nil || got != want {
			t.Fatalf("a session of %s: got %s, %v; want %s", listener, got, err, want)
		}
	}
}

// refuses waits until the listener has no server for a session; from then on it must
// have none.
func (r *rolesCase) refuses(t *testing.T, listener string) {
	t.Helper()
	refused := func() bool {
		_, err := r.ask(t, listener)
		return err != nil
	}
	eventually(t, listener+" has no server", refused)
	for range sure {
		if !refused() {
			t.Fatalf("a session of %s reached a server; want none", listener)
		}
	}
}
