//go:build linux

package main_test

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"

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
	r := serveRoles(t, first, second)
	t.Run("at the start", func(t *testing.T) {
		r.reaches(t, "primary", first)
		r.reaches(t, "replica", second)
	})
	t.Run("no session for a standby while the primary is dead", func(t *testing.T) {
		first.Kill()
		r.await(fields{"msg": "backend down", "pool": "primary", "backend": nameOf(first)})
		for range sure {
			if port, err := r.ask(t, "primary"); err == nil {
				t.Fatalf("got port %d; want no server", port)
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
	r := serveRoles(t, first, second, third)
	r.reaches(t, "primary", first)
	first.Kill()
	second.Promote()
	third.Promote()
	r.await(fields{"msg": "split: several backends claim to be the primary"})
	r.refuses(t, "primary")
}

// rolesCase is limeload with a listener for the primary and one for replicas.
type rolesCase struct {
	*limeload
}

func serveRoles(t *testing.T, servers ...*testserver.Postgres) *rolesCase {
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
			[pool.breaker]
			enabled = false
			[pool.health]
			type = "postgres"
			role = %[1]q
			user = "postgres"
			interval = "500ms"
			timeout = "500ms"
			rise = 1
			fall = 3
			%[2]s
		`, role, backends.String())
	}
	return &rolesCase{serve(t, "splice", config.String())}
}

func nameOf(s *testserver.Postgres) string { return strconv.Itoa(s.Port) }

// ask answers the port of the server that a session of a listener reaches.
func (r *rolesCase) ask(t *testing.T, listener string) (port int, err error) {
	c, err := pgx.ConnectConfig(waiting(t), postgresConfig(t, r.address(listener), "postgres"))
	if err != nil {
		return 0, err
	}
	defer c.Close(context.Background())
	err = c.QueryRow(waiting(t), "select inet_server_port()").Scan(&port)
	return port, err
}

// reaches waits until a session of the listener reaches the server; from then on all
// of them must.
func (r *rolesCase) reaches(t *testing.T, listener string, server *testserver.Postgres) {
	t.Helper()
	eventually(t, "a session reaches "+nameOf(server), func() bool {
		port, err := r.ask(t, listener)
		return err == nil && port == server.Port
	})
	for range sure {
		if port, err := r.ask(t, listener); err != nil || port != server.Port {
			t.Fatalf("a session of %s: got port %d, %v; want %d", listener, port, err, server.Port)
		}
	}
}

// refuses waits until the listener has no server for a session; from then on it must
// have none.
func (r *rolesCase) refuses(t *testing.T, listener string) {
	t.Helper()
	refused := func() bool {
		c, err := net.Dial("tcp", r.address(listener))
		if err != nil {
			return true
		}
		c.Close()
		_, err = r.ask(t, listener)
		return err != nil
	}
	eventually(t, listener+" has no server", refused)
	for range sure {
		if !refused() {
			t.Fatalf("a session of %s reached a server; want none", listener)
		}
	}
}
