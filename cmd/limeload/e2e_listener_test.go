//go:build linux

package main_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/limeload/limeload/pkg/testserver"
)

// One process serves several listeners, on addresses of every kind, in front of
// several pools.
func TestListeners(t *testing.T) {
	t.Parallel()
	server := testserver.StartPostgres(t)
	psql := testserver.PostgresProgram(t, "psql")
	onBothEngines(t, func(t *testing.T, engine string) {
		sockets := shortDir(t)
		front := filepath.Join(sockets, ".s.PGSQL.5432")
		one, two := startEcho(t, "one", "127.0.0.1:0"), startEcho(t, "two", ipv6(t, "127.0.0.1:0"))
		l := serve(t, engine, fmt.Sprintf(`
			[[listener]]
			name = "postgres"
			listen = ["unix:%s", "127.0.0.1:0"]
			pool = "postgres"

			[[listener]]
			name = "one"
			listen = ["127.0.0.1:0"]
			pool = "one"

			[[listener]]
			name = "one-again"
			listen = [%q]
			pool = "one"

			[[listener]]
			name = "two"
			listen = ["127.0.0.1:0"]
			pool = "two"

			[[pool]]
			name = "postgres"
			backend = [ { name = "pg", address = "unix:%s" } ]

			[[pool]]
			name = "one"
			backend = [ { name = "one", address = %q } ]

			[[pool]]
			name = "two"
			backend = [ { name = "two", address = %q } ]
		`, front, ipv6(t, "127.0.0.1:0"), server.Socket(), one.address, two.address))

		t.Run("unix socket to unix socket", func(t *testing.T) {
			args := []string{"-U", "postgres", "-d", "postgres", "-A", "-t", "-c", "select inet_server_port() is null"}
			if got := strings.TrimSpace(output(t, psql, append(args, "-h", sockets, "-p", "5432")...)); got != "t" {
				t.Errorf("got %q; want an answer from the server's unix socket", got)
			}
			wantFields(t, l.await(fields{"msg": "session", "listener": "postgres", "client": "unix"}), fields{
				"client_port": 0, "backend": "pg", "backend_address": "unix:" + server.Socket(), "attempts": 1,
			})
		})
		t.Run("second address of a listener", func(t *testing.T) {
			addresses := l.awaitCount(2, 0, fields{"msg": "listening", "listener": "postgres"})
			c := connectPostgres(t, addresses[1].text("address"), "postgres")
			client := c.PgConn().Conn().LocalAddr()
			c.Close(waiting(t))
			wantFields(t, l.session(client), fields{"listener": "postgres", "client": "127.0.0.1", "backend": "pg"})
		})
		for _, c := range []struct{ listener, backend string }{{"one", "one"}, {"one-again", "one"}, {"two", "two"}} {
			t.Run(c.listener, func(t *testing.T) {
				v := visit(t, l.address(c.listener))
				v.chat(t)
				v.leave(t)
				host, _, _ := net.SplitHostPort(v.LocalAddr().String())
				wantFields(t, l.session(v.LocalAddr()), fields{
					"listener": c.listener, "pool": c.backend, "backend": c.backend, "client": host,
				})
				if v.name != c.backend {
					t.Errorf("got backend %s; want %s", v.name, c.backend)
				}
			})
		}

		l.signal(syscall.SIGTERM)
		l.status()
		if _, err := os.Stat(front); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("after limeload's end its unix socket: got %v; want it gone", err)
		}
	})
}

// ipv6 is a free port of ::1, or fallback where there is no IPv6.
func ipv6(t *testing.T, fallback string) string {
	t.Helper()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Logf("no IPv6 here, %s instead: %v", fallback, err)
		return fallback
	}
	l.Close()
	return "[::1]:0"
}

// shortDir is a directory whose name leaves room in a unix socket's path, which has
// at most 107 bytes (unix(7)): t.TempDir holds the test's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lime")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Clients beyond a listener's max_connections wait in the kernel's queue, and are
// served as others leave.
func TestListenerMaxConnections(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, engine string) {
		const limit, clients = 4, 40
		backend := startEcho(t, "b", "127.0.0.1:0")
		l := serve(t, engine, fmt.Sprintf(`
			[[listener]]
			name = "front"
			listen = ["127.0.0.1:0"]
			pool = "pool"
			max_connections = %d

			[[pool]]
			name = "pool"
			health = { type = "none" }
			backend = [ { address = %q } ]
		`, limit, backend.address))

		var held []*visitor
		for range limit {
			held = append(held, visit(t, l.address("front")))
		}
		var queued []*net.TCPConn
		for range clients {
			c := dial(t, l.address("front"))
			send(t, c, "are you there?")
			queued = append(queued, c)
		}
		for _, v := range held {
			v.chat(t)
		}
		if n := backend.served(); n != limit {
			t.Errorf("with %d sessions held and %d clients waiting the backend has %d; want %d", limit, clients, n, limit)
		}

		var served sync.WaitGroup
		for _, c := range queued {
			served.Go(func() {
				defer c.Close()
				v := meet(c)
				answer := make([]byte, len("are you there?"))
				if n, err := io.ReadFull(v.from, answer); err != nil {
					t.Errorf("a client that waited got %q, %v; want its answer", answer[:n], err)
				}
			})
		}
		for _, v := range held {
			v.leave(t)
		}
		served.Wait()
		l.awaitCount(limit+clients, 0, fields{"msg": "session", "reason": "client-closed"})
		if n := backend.crowd(); n != limit {
			t.Errorf("at most %d clients were at the backend at one time; want %d", n, limit)
		}
	})
}
