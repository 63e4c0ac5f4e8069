//go:build linux

package main_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/limeload/limeload/pkg/testserver"
)

// A PostgreSQL server behind limeload is a PostgreSQL server.
func TestPostgres(t *testing.T) {
	t.Parallel()
	server := testserver.StartPostgres(t)
	onBothEngines(t, func(t *testing.T, engine string) {
		direct := connectPostgres(t, server.Address(), "postgres")
		execute(t, direct, "create database "+engine)
		p := &postgresCase{
			limeload: serve(t, engine, onePostgres(server.Address())),
			direct:   direct,
			database: engine,
		}
		p.address = p.limeload.address("front")

		listener := connectPostgres(t, p.address, engine)
		execute(t, listener, "listen news")
		t.Run("pgbench", p.pgbench)
		t.Run("COPY", p.copy)
		t.Run("cancel by pgx", p.cancelByPgx)
		t.Run("cancel by psql", p.cancelByPsql)
		t.Run("pool of pgx connections", p.pool)
		t.Run("NOTIFY reaches a session that was idle all the time", func(t *testing.T) {
			execute(t, connectPostgres(t, p.address, engine), "notify news, 'here they are'")
			n, err := listener.WaitForNotification(waiting(t))
			if err != nil || n.Payload != "here they are" {
				t.Errorf("got %v, %v; want the notification", n, err)
			}
		})
	})
}

// onePostgres is a configuration with one listener, front, in front of one server.
func onePostgres(address string) string {
	return fmt.Sprintf(`
		[[listener]]
		name = "front"
		listen = ["127.0.0.1:0"]
		pool = "postgres"

		[[pool]]
		name = "postgres"
		[[pool.backend]]
		name = "pg"
		address = %q
	`, address)
}

// postgresCase is limeload in front of a server, with a database of its own.
type postgresCase struct {
	limeload *limeload
	address  string    // of limeload
	direct   *pgx.Conn // to the server, past limeload
	database string
}

// program answers a client program's arguments for a connection through limeload.
func (p *postgresCase) program(t *testing.T, name string, args ...string) (string, []string) {
	t.Helper()
	host, port, err := net.SplitHostPort(p.address)
	if err != nil {
		t.Fatal(err)
	}
	return testserver.PostgresProgram(t, name), append([]string{"-h", host, "-p", port, "-U", "postgres"}, args...)
}

func (p *postgresCase) pgbench(t *testing.T) {
	program, args := p.program(t, "pgbench", "--initialize", "--quiet", p.database)
	output(t, program, args...)
	for _, protocol := range []string{"simple", "prepared"} {
		t.Run(protocol, func(t *testing.T) {
			program, args := p.program(t, "pgbench", "--no-vacuum", "--client=16", "--jobs=2",
				"--transactions=25", "--protocol="+protocol, p.database)
			report := output(t, program, args...)
			if !strings.Contains(report, "actually processed: 400/400\n") {
				t.Errorf("want all 400 transactions; got\n%s", report)
			}
			// Before version 15 pgbench gave up at the first failure and had no such line.
			if strings.Contains(report, "failed transactions:") && !strings.Contains(report, "failed transactions: 0 ") {
				t.Errorf("want no failed transactions; got\n%s", report)
			}
		})
	}
}

func (p *postgresCase) copy(t *testing.T) {
	var rows bytes.Buffer
	for i, random := 0, randomBytes(1, 16<<20); len(random) > 0; i, random = i+1, random[512:] {
		fmt.Fprintf(&rows, "%d\t%s\n", i, hex.EncodeToString(random[:512]))
	}
	size, sent := rows.Len(), sha256.Sum256(rows.Bytes())
	execute(t, connectPostgres(t, p.address, p.database), "create unlogged table copied (i int, t text)")

	program, args := p.program(t, "psql", "-d", p.database, "-c", "copy copied from stdin")
	in := exec.CommandContext(t.Context(), program, args...)
	in.Stdin = &rows
	if out, err := in.CombinedOutput(); err != nil {
		t.Fatalf("psql: %v\n%s", err, out)
	}

	program, args = p.program(t, "psql", "-d", p.database, "-c", "copy copied to stdout")
	out := exec.CommandContext(t.Context(), program, args...)
	received := sha256.New()
	counted := &counter{to: received}
	out.Stdout, out.Stderr = counted, os.Stderr
	if err := out.Run(); err != nil {
		t.Fatalf("psql: %v", err)
	}
	if counted.n != size || !bytes.Equal(received.Sum(nil), sent[:]) {
		t.Errorf("got %d bytes back; want the %d that were sent, unchanged", counted.n, size)
	}
	for _, direction := range []string{"bytes_up", "bytes_down"} {
		p.awaitBig(t, direction, size)
	}
}

// awaitBig waits for a session that moved at least size bytes in one direction.
func (p *postgresCase) awaitBig(t *testing.T, direction string, size int) {
	t.Helper()
	eventually(t, fmt.Sprintf("a session has %s of %d or more", direction, size), func() bool {
		for _, ln := range p.limeload.logged(fields{"msg": "session"}) {
			if ln.number(t, direction) >= float64(size) {
				return true
			}
		}
		return false
	})
}

// counter counts what passes through.
type counter struct {
	to io.Writer
	n  int
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += len(p)
	return c.to.Write(p)
}

// A cancel request is a connection of its own: with one backend it arrives where the
// query runs.
func (p *postgresCase) cancelByPgx(t *testing.T) {
	c := connectPostgres(t, p.address, p.database)
	failed := make(chan error, 1)
	go func() {
		_, err := c.Exec(waiting(t), "select pg_sleep(600)")
		failed <- err
	}()
	p.awaitSleep(t, "pid", c.PgConn().PID())
	if err := c.PgConn().CancelRequest(waiting(t)); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; !isCanceled(err) {
		t.Errorf("the query ended with %v; want that it was canceled", err)
	}
}

func (p *postgresCase) cancelByPsql(t *testing.T) {
	program, args := p.program(t, "psql", "-d", p.database, "-c", "select pg_sleep(600)")
	psql := exec.CommandContext(t.Context(), program, args...)
	psql.Env = append(os.Environ(), "PGAPPNAME=to be canceled")
	var out bytes.Buffer
	psql.Stdout, psql.Stderr = &out, &out
	if err := psql.Start(); err != nil {
		t.Fatal(err)
	}
	p.awaitSleep(t, "application_name", "to be canceled")
	psql.Process.Signal(syscall.SIGINT)
	if err := psql.Wait(); err == nil || !strings.Contains(out.String(), "canceling statement due to user request") {
		t.Errorf("psql ended with %v; want that the statement was canceled\n%s", err, &out)
	}
}

// awaitSleep waits until a session of the case's database sleeps.
func (p *postgresCase) awaitSleep(t *testing.T, column string, value any) {
	t.Helper()
	eventually(t, fmt.Sprintf("the session with %s %v sleeps", column, value), func() bool {
		return sleeps(t, p.direct, column, value)
	})
}

// sleeps asks a server whether a session, named by a column of pg_stat_activity,
// runs pg_sleep.
func sleeps(t *testing.T, direct *pgx.Conn, column string, value any) (yes bool) {
	t.Helper()
	query := fmt.Sprintf("select exists (select from pg_stat_activity where %s::text = $1 and wait_event = 'PgSleep')", column)
	if err := direct.QueryRow(waiting(t), query, fmt.Sprint(value)).Scan(&yes); err != nil {
		t.Fatal(err)
	}
	return yes
}

// pool has connections taken out and put back, as an application does.
func (p *postgresCase) pool(t *testing.T) {
	const size, workers, rounds = 8, 16, 16
	pool := make(chan *pgx.Conn, size)
	for range size {
		pool <- connectPostgres(t, p.address, p.database)
	}
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			big := randomBytes(uint64(worker), 1<<20)
			for round := range rounds {
				c := <-pool
				if err := roundTrip(waiting(t), c, worker*rounds+round, big[:round<<15]); err != nil {
					t.Errorf("worker %d, round %d: %v", worker, round, err)
				}
				pool <- c
			}
		})
	}
	wg.Wait()
	for range size {
		c := <-pool
		client := c.PgConn().Conn().LocalAddr()
		if err := c.Close(waiting(t)); err != nil {
			t.Error(err)
		}
		// Both ends close upon the client's goodbye: which is first is anybody's guess.
		ln := p.limeload.session(client)
		if reason := ln.text("reason"); reason != "client-closed" && reason != "backend-closed" {
			t.Errorf("got reason %s; want an orderly end", reason)
		}
	}
}

// roundTrip sends values there and back in a transaction.
func roundTrip(ctx context.Context, c *pgx.Conn, n int, big []byte) error {
	return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		var gotN int
		var gotBig []byte
		if err := tx.QueryRow(ctx, "select $1::int, $2::bytea", n, big).Scan(&gotN, &gotBig); err != nil {
			return err
		}
		if gotN != n || !bytes.Equal(gotBig, big) {
			return fmt.Errorf("got %d and %d bytes; want %d and the same %d bytes", gotN, len(gotBig), n, len(big))
		}
		return nil
	})
}

// With several backends a cancel request is a client like any other and may go
// elsewhere, where nobody knows the query. With ip-hash it follows its client.
func TestPostgresCancelWithSeveralBackends(t *testing.T) {
	t.Parallel()
	server := testserver.StartPostgres(t)
	onBothEngines(t, func(t *testing.T, engine string) {
		for _, c := range []struct {
			algorithm string
			arrives   bool
		}{{"round-robin", false}, {"ip-hash", true}} {
			t.Run(c.algorithm, func(t *testing.T) {
				direct := connectPostgres(t, server.Address(), "postgres")
				other := startStranger(t)
				l := serve(t, engine, fmt.Sprintf(`
					[[listener]]
					name = "front"
					listen = ["127.0.0.1:0"]
					pool = "pool"

					[[pool]]
					name = "pool"
					algorithm = %q
					health = { type = "none" }
					backend = [
						{ name = "postgres", address = %q },
						{ name = "other", address = %q },
					]
				`, c.algorithm, server.Address(), other.address))
				session := connectThroughEither(t, l)
				failed := make(chan error, 1)
				go func() {
					_, err := session.Exec(waiting(t), "select pg_sleep(600)")
					failed <- err
				}()
				pid := session.PgConn().PID()
				eventually(t, "the query runs", func() bool { return sleeps(t, direct, "pid", pid) })
				other.forget()
				if err := session.PgConn().CancelRequest(waiting(t)); err != nil {
					t.Fatal(err)
				}
				if !c.arrives {
					wantCancelRequest(t, <-other.heard, pid)
					if !sleeps(t, direct, "pid", pid) {
						t.Error("the query does not run any more, though its cancel request went elsewhere")
					}
					execute(t, direct, fmt.Sprintf("select pg_cancel_backend(%d)", pid))
				}
				if err := <-failed; !isCanceled(err) {
					t.Errorf("the query ended with %v; want that it was canceled", err)
				}
			})
		}
	})
}

// stranger is a backend that is no PostgreSQL server: it ends every session after
// its first bytes.
type stranger struct {
	address string
	heard   chan []byte
}

func startStranger(t *testing.T) *stranger {
	t.Helper()
	l := listen(t, "127.0.0.1:0")
	s := &stranger{address: l.Addr().String(), heard: make(chan []byte, 1000)}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			first := make([]byte, 64)
			n, _ := c.Read(first)
			c.Close()
			s.heard <- first[:n]
		}
	}()
	return s
}

// forget drops what it has heard.
func (s *stranger) forget() {
	for len(s.heard) > 0 {
		<-s.heard
	}
}

// connectThroughEither connects to the one of two backends that is a PostgreSQL
// server, from one source address after another until that is where limeload leads.
func connectThroughEither(t *testing.T, l *limeload) *pgx.Conn {
	t.Helper()
	for i := 2; i < 50; i++ {
		config := postgresConfig(t, l.address("front"), "postgres")
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(i))}}
		config.DialFunc = d.DialContext
		c, err := pgx.ConnectConfig(waiting(t), config)
		if err == nil {
			t.Cleanup(func() { c.Close(context.Background()) })
			return c
		}
	}
	t.Fatal("no source address leads to the PostgreSQL server")
	return nil
}

// wantCancelRequest checks that a stranger heard the cancel request of a session:
// length, code, process and secret ("Message Formats" in PostgreSQL's manual).
func wantCancelRequest(t *testing.T, heard []byte, pid uint32) {
	t.Helper()
	want := binary.BigEndian.AppendUint32(nil, 16)
	want = binary.BigEndian.AppendUint32(want, 80877102)
	want = binary.BigEndian.AppendUint32(want, pid)
	if len(heard) != 16 || !bytes.HasPrefix(heard, want) {
		t.Errorf("the other backend heard %x; want a cancel request for process %d", heard, pid)
	}
}

// isCanceled reports whether a query ended by a cancel request (query_canceled).
func isCanceled(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Code == "57014"
}

// postgresConfig says how to connect to a server.
func postgresConfig(t *testing.T, address, database string) *pgx.ConnConfig {
	t.Helper()
	config, err := pgx.ParseConfig(fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable", address, database))
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// connectPostgres connects to a server until t ends.
func connectPostgres(t *testing.T, address, database string) *pgx.Conn {
	t.Helper()
	c, err := pgx.ConnectConfig(waiting(t), postgresConfig(t, address, database))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

// execute runs a statement that must succeed.
func execute(t *testing.T, c *pgx.Conn, statement string) {
	t.Helper()
	if _, err := c.Exec(waiting(t), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// waiting is a context that ends with t, or when patience does.
func waiting(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}
