//go:build linux

package main_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/limeload/limeload/pkg/testserver"
)

// One of two PostgreSQL servers is killed under load. Sessions on the other one go
// on, new ones succeed at once, and the killed one is used again when it is back.
func TestFailover(t *testing.T) {
	t.Parallel()
	a, b := testserver.StartPostgres(t), testserver.StartPostgres(t)
	for _, engine := range []string{"splice", "copy"} {
		t.Run(engine, func(t *testing.T) { failover(t, engine, a, b) })
	}
}

const fall, rise = 4, 2

func failover(t *testing.T, engine string, a, b *testserver.Postgres) {
	l := serve(t, engine, fmt.Sprintf(`
		[[listener]]
		name = "front"
		listen = ["127.0.0.1:0"]
		pool = "postgres"

		[[pool]]
		name = "postgres"
		health = { type = "tcp", interval = "150ms", fall = %d, rise = %d }
		backend = [ { name = "a", address = %q }, { name = "b", address = %q } ]
	`, fall, rise, a.Address(), b.Address()))
	l.await(fields{"msg": "backend up", "backend": "a"})
	l.await(fields{"msg": "backend up", "backend": "b"})
	address := l.address("front")

	held := holdSessions(t, address, 6)
	onB := held.on(b.Port)
	if len(onB) != 3 {
		t.Fatalf("of 6 sessions %d are on b; want 3", len(onB))
	}
	load := startConnecting(t, address, 2)
	load.awaitMore(10)

	load.phase.Store(killing)
	a.Kill()
	load.phase.Store(killed)
	for range 5 {
		if port := servedBy(t, address); port != b.Port {
			t.Errorf("after the kill a new session is on port %d; want that of b, %d", port, b.Port)
		}
	}
	load.awaitMore(20)
	down := l.await(fields{"msg": "backend down", "backend": "a"})
	wantFields(t, down, fields{"level": "info", "pool": "postgres", "old": "up", "new": "down", "usable": 1})
	wantProbes(t, l, down, "down", fall)

	for range 5 {
		c := connectPostgres(t, address, "postgres")
		client := c.PgConn().Conn().LocalAddr()
		c.Close(waiting(t))
		wantFields(t, l.session(client), fields{"backend": "b", "attempts": 1})
	}
	load.stop(l)
	wantRetries(t, l, down)
	onB.awaitMore(t, 10)

	a.Restart()
	up := l.awaitAfter(down, fields{"msg": "backend up", "backend": "a"})
	wantFields(t, up, fields{"level": "info", "old": "down", "new": "up", "usable": 2})
	wantProbes(t, l, up, "up", rise)
	if port := servedBy(t, address); port != a.Port {
		t.Errorf("after the restart a new session is on port %d; want that of a, %d, which has none", port, a.Port)
	}
	onB.awaitMore(t, 10)
	held.stop()
	for _, s := range held {
		if err := s.err; (err != nil) != (s.port == a.Port) {
			t.Errorf("a session held on port %d ended with %v; want an error exactly on a, port %d", s.port, err, a.Port)
		}
	}
}

// wantProbes checks that a change of a backend's state came with the last of n
// probes in a row that said so.
func wantProbes(t *testing.T, l *limeload, change line, verdict string, n int) {
	t.Helper()
	row := 0
	for _, probe := range l.logged(fields{"msg": "probe", "backend": change.text("backend")}) {
		switch {
		case probe.place > change.place:
		case probe.text("verdict") == verdict:
			row++
		default:
			row = 0
		}
	}
	if row != n {
		t.Errorf("%s came after %d probes in a row that said so; want %d", change.text("msg"), row, n)
	}
}

// wantRetries checks that sessions met the killed backend before its probes did,
// went on to the other one, and that people heard of it once.
func wantRetries(t *testing.T, l *limeload, down line) {
	t.Helper()
	failures := l.logged(fields{"msg": "connect failed"})
	if len(failures) != 1 || failures[0].text("backend") != "a" || failures[0].place > down.place {
		t.Errorf("got %d lines of failed connects, %v; want one, of a, before it went down", len(failures), failures)
	}
	retried := l.logged(fields{"msg": "session", "attempts": 2})
	if len(retried) == 0 {
		t.Error("no session needed a second attempt; want some, until a was down")
	}
	for _, ln := range retried {
		if ln.text("backend") != "b" {
			t.Errorf("a session with two attempts is on %s; want b", ln.text("backend"))
		}
	}
}

// servedBy opens a session, and answers the port of the server where it is.
func servedBy(t *testing.T, address string) int {
	t.Helper()
	c := connectPostgres(t, address, "postgres")
	defer c.Close(waiting(t))
	port, err := serverPort(waiting(t), c)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func serverPort(ctx context.Context, c *pgx.Conn) (port int, err error) {
	err = c.QueryRow(ctx, "select inet_server_port() from pg_sleep(0.005)").Scan(&port)
	return port, err
}

// heldSession is a session that asks one question after another.
type heldSession struct {
	conn    *pgx.Conn
	port    int // of its server
	answers atomic.Int64
	quit    chan struct{}
	asked   sync.Once     // to close quit
	ended   chan struct{} // then err may be read
	err     error         // that ended it; nil if it was asked to stop
}

type heldSessions []*heldSession

// holdSessions opens n sessions, one after another, that are at work until they are
// stopped.
func holdSessions(t *testing.T, address string, n int) heldSessions {
	t.Helper()
	var all heldSessions
	for range n {
		s := &heldSession{conn: connectPostgres(t, address, "postgres"), quit: make(chan struct{}), ended: make(chan struct{})}
		var err error
		if s.port, err = serverPort(waiting(t), s.conn); err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
		go s.work(t.Context())
		t.Cleanup(s.stop) // before the connection closes
	}
	return all
}

func (s *heldSession) work(ctx context.Context) {
	defer close(s.ended)
	for {
		select {
		case <-s.quit:
			return
		default:
		}
		port, err := serverPort(ctx, s.conn)
		if err == nil && port != s.port {
			err = fmt.Errorf("the session moved from port %d to %d", s.port, port)
		}
		if err != nil {
			s.err = err
			return
		}
		s.answers.Add(1)
	}
}

// on are those whose server has a port.
func (all heldSessions) on(port int) heldSessions {
	var found heldSessions
	for _, s := range all {
		if s.port == port {
			found = append(found, s)
		}
	}
	return found
}

// awaitMore waits until each has got n answers more.
func (all heldSessions) awaitMore(t *testing.T, n int64) {
	t.Helper()
	for _, s := range all {
		want := s.answers.Load() + n
		eventually(t, "a session on a living server gets answers", func() bool { return s.answers.Load() >= want })
	}
}

func (all heldSessions) stop() {
	for _, s := range all {
		s.stop()
	}
}

func (s *heldSession) stop() {
	s.asked.Do(func() { close(s.quit) })
	<-s.ended
}

// Phases of the failover, as those see it who connect.
const (
	before  = iota
	killing // what connects now may be on the server that dies
	killed  // what connects now must not notice
)

// connecting is a load of short sessions.
type connecting struct {
	t       *testing.T
	address string
	phase   atomic.Int32
	done    atomic.Int64 // sessions that succeeded
	quit    chan struct{}
	workers sync.WaitGroup

	mu     sync.Mutex
	failed []failedSession
}

type failedSession struct {
	phase  int32
	client net.Addr // nil if not even limeload was reached
	err    error
}

// startConnecting has sessions opened, used and closed, by a number of workers.
func startConnecting(t *testing.T, address string, workers int) *connecting {
	c := &connecting{t: t, address: address, quit: make(chan struct{})}
	for range workers {
		c.workers.Go(c.work)
	}
	return c
}

func (c *connecting) work() {
	for {
		select {
		case <-c.quit:
			return
		case <-c.t.Context().Done():
			return
		default:
			c.session()
		}
	}
}

// session is one short session, which notes if it fails.
func (c *connecting) session() {
	s := failedSession{phase: c.phase.Load()}
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	config := postgresConfig(c.t, c.address, "postgres")
	// pgx may dial again behind our back, to cancel what it gave up.
	clients := make(chan net.Addr, 100)
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, network, address)
		if err == nil {
			clients <- conn.LocalAddr()
		}
		return conn, err
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err == nil {
		_, err = serverPort(ctx, conn)
		conn.Close(ctx)
	}
	if err == nil {
		c.done.Add(1)
		return
	}
	s.err = err
	if len(clients) > 0 {
		s.client = <-clients
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = append(c.failed, s)
}

// awaitMore waits until n more sessions have succeeded.
func (c *connecting) awaitMore(n int64) {
	c.t.Helper()
	want := c.done.Load() + n
	eventually(c.t, "new sessions succeed", func() bool { return c.done.Load() >= want })
}

// stop ends the load, and checks that no session failed but those that were on a
// when it was killed.
func (c *connecting) stop(l *limeload) {
	c.t.Helper()
	close(c.quit)
	c.workers.Wait()
	for _, s := range c.failed {
		if s.phase == killing && s.client == nil && errors.Is(s.err, syscall.ECONNRESET) {
			continue // a, which it was on, was killed before its connect had returned
		}
		if s.phase == killed || s.client == nil {
			c.t.Errorf("a session that began in phase %d failed: %v", s.phase, s.err)
			continue
		}
		if ln := l.session(s.client); ln.text("backend") != "a" {
			c.t.Errorf("a session on %s failed: %v; want errors only on a\n%v", ln.text("backend"), s.err, ln.fields)
		}
	}
}
