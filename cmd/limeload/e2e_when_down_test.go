//go:build linux

package main_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/limeload/limeload/pkg/testserver"
)

// While no backend is usable a client meets a reset, or nobody at all; afterwards it
// is served again.
func TestWhenDown(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, engine string) {
		backend := startEcho(t, "b", refusing(t))
		l := serve(t, engine, whenDown("rst", backend.address)+whenDown("unlisten", backend.address))
		rst, unlisten := l.address("rst"), l.address("unlisten")
		visit(t, rst).leave(t)
		visit(t, unlisten).leave(t)

		backend.stop()
		cause := l.await(fields{"msg": "backend down", "pool": "unlisten"})
		stopped := l.awaitAfter(cause, fields{"msg": "when_down", "listener": "unlisten", "listening": false})
		l.await(fields{"msg": "backend down", "pool": "rst"})
		wantFields(t, l.session(dialReset(t, rst)), fields{"reason": "no-backend", "listener": "rst"})
		if !refused(unlisten) {
			t.Error("a listener that does not listen was connected to; want that the connection is refused")
		}
		if thief, err := net.Listen("tcp", unlisten); err == nil {
			thief.Close()
			t.Error("another process could take the address of a listener that does not listen; want that it is in use")
		}

		backend.start()
		cause = l.awaitAfter(stopped, fields{"msg": "backend up", "pool": "unlisten"})
		l.awaitAfter(cause, fields{"msg": "when_down", "listener": "unlisten", "listening": true})
		visit(t, unlisten).leave(t)
		l.awaitAfter(stopped, fields{"msg": "backend up", "pool": "rst"})
		visit(t, rst).leave(t)
	})
}

// A pool whose backends are down from the start is no different.
func TestUnlistenFromTheStart(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, engine string) {
		backend := startEcho(t, "b", refusing(t))
		backend.stop()
		l := serve(t, engine, whenDown("unlisten", backend.address))
		l.await(fields{"msg": "backend down"})
		eventually(t, "the listener does not listen", func() bool { return refused(l.address("unlisten")) })
		backend.start()
		l.await(fields{"msg": "when_down", "listening": true})
		visit(t, l.address("unlisten")).leave(t)
	})
}

// libpq takes the next host of its list as soon as the first one refuses.
func TestUnlistenMovesLibpqOn(t *testing.T) {
	t.Parallel()
	first, second := testserver.StartPostgres(t), testserver.StartPostgres(t)
	psql := testserver.PostgresProgram(t, "psql")
	for _, engine := range []string{"splice", "copy"} {
		t.Run(engine, func(t *testing.T) {
			l := serve(t, engine, whenDown("unlisten", first.Address()))
			host, port, err := net.SplitHostPort(l.address("unlisten"))
			if err != nil {
				t.Fatal(err)
			}
			served := func() string {
				return strings.TrimSpace(output(t, psql, "--no-align", "--tuples-only", "-c", "select inet_server_port()",
					fmt.Sprintf("host=%s,127.0.0.1 port=%s,%d user=postgres dbname=postgres", host, port, second.Port)))
			}
			if got, want := served(), fmt.Sprint(first.Port); got != want {
				t.Errorf("while the pool is up libpq is on port %s; want %s", got, want)
			}
			first.Kill()
			stopped := l.await(fields{"msg": "when_down", "listening": false})
			if got, want := served(), fmt.Sprint(second.Port); got != want {
				t.Errorf("while the pool is down libpq is on port %s; want %s", got, want)
			}
			first.Restart()
			l.awaitAfter(stopped, fields{"msg": "when_down", "listening": true})
			if got, want := served(), fmt.Sprint(first.Port); got != want {
				t.Errorf("after the pool came back libpq is on port %s; want %s", got, want)
			}
		})
	}
}

// whenDown is a configuration with one listener and its pool, both named after what
// the pool does while its one backend is down.
func whenDown(behaviour, backend string) string {
	return fmt.Sprintf(`
		[[listener]]
		name = %[1]q
		listen = ["127.0.0.1:0"]
		pool = %[1]q

		[[pool]]
		name = %[1]q
		when_down = %[1]q
		health = { type = "tcp", interval = "20ms" }
		backend = [ { name = "b", address = %[2]q } ]
	`, behaviour, backend)
}
