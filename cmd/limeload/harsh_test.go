//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// These tests do to the program what clients and backends do that are broken,
// hostile or too many. What is common to all: it stays alive and does not spin,
// sessions that were fine go on, and afterwards it serves, holds no descriptor more
// than before, and ends at SIGTERM with status 0.

// fewFiles is a limit on open files that leaves room for some dozens of sessions.
const fewFiles = 256

// More clients than there is room for, with hardly a descriptor to spare.
func TestLimitOf64Descriptors(t *testing.T) {
	s := serveUnder(t, 64, pool{name: "db", backends: []string{echo(t, "")}})
	held := s.hold(t, "db", 3)
	var clients sync.WaitGroup
	for range 4 * s.maxConnections() {
		clients.Go(func() {
			if err := talk(s.addr["db"]); err != nil {
				t.Errorf("client in the queue: %v", err)
			}
		})
	}
	clients.Wait()
	held.end(t)
}

// Those for which there is no room wait; nobody pays for their waiting.
func TestThousandClientsAtALimitOf256Descriptors(t *testing.T) {
	s := serveUnder(t, fewFiles, pool{name: "db", backends: []string{echo(t, "")}})
	held := s.hold(t, "db", 4)

	var served atomic.Int64
	crowd := make(chan net.Conn, 1000)
	var clients sync.WaitGroup
	for range cap(crowd) {
		clients.Go(func() {
			c, err := net.DialTimeout("tcp", s.addr["db"], time.Second)
			if err != nil {
				return // the kernel's queue is full
			}
			crowd <- c
			if exchange(c, "served") == nil {
				served.Add(1)
			}
		})
	}
	room := int64(s.maxConnections() - 4)
	if !until(func() bool { return served.Load() >= room }) {
		t.Errorf("served: got %d of a crowd; want %d", served.Load(), room)
	}
	s.expectIdle(t)
	if got := served.Load(); got > room {
		t.Errorf("served: got %d at the same time; want %d", got, room)
	}
	held.exchange(t)

	until(func() bool { return len(crowd) >= int(room) })
	go func() { clients.Wait(); close(crowd) }()
	for c := range crowd {
		c.Close()
	}
	if err := talk(s.addr["db"]); err != nil {
		t.Errorf("new client: %v", err)
	}
	held.end(t)
}

func TestRudeClients(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	s := serveUnder(t, fewFiles, pool{name: "db", backends: []string{echo(t, "")}})
	for _, tt := range []struct {
		name string
		rude func(c *net.TCPConn)
	}{
		{"says nothing", func(c *net.TCPConn) {}},
		{"resets at once", func(c *net.TCPConn) { c.SetLinger(0); c.Close() }},
		{"ends at once", func(c *net.TCPConn) { c.CloseWrite() }},
		{"ends and is gone", func(c *net.TCPConn) { c.Close() }},
		{"sends noise and does not read the answer", func(c *net.TCPConn) { c.Write(noise(random, 100_000)) }},
		{"sends noise and resets", func(c *net.TCPConn) { c.Write(noise(random, 10_000)); c.SetLinger(0); c.Close() }},
		{"sends a byte out of band", func(c *net.TCPConn) { outOfBand(c); c.Write([]byte("x")) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			held := s.hold(t, "db", 2)
			var conns []*net.TCPConn
			for range 30 {
				c, err := dial(s.addr["db"])
				if err != nil {
					t.Fatal(err)
				}
				conns = append(conns, c.(*net.TCPConn))
				tt.rude(c.(*net.TCPConn))
			}
			s.expectIdle(t)
			held.exchange(t)
			for _, c := range conns {
				c.Close()
			}
			held.end(t)
			s.expectBaseline(t)
		})
	}
}

// The client is slowed down to what its backend takes, which is nothing. When it
// resets, what it had sent before is kept for the backend, but not for ever.
func TestBackendThatNeverReads(t *testing.T) {
	deaf := listen(t, "127.0.0.1:0")
	s := serveUnder(t, fewFiles, pool{name: "db", backends: []string{echo(t, "")}}, pool{name: "deaf", backends: []string{deaf.Addr().String()}})
	held := s.hold(t, "db", 2)
	var conns []net.Conn
	for range 4 {
		c, err := dial(s.addr["deaf"])
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
		if n := fill(c); n > 64<<20 {
			t.Errorf("bytes that were taken from a client whose backend reads none: got %d; want less", n)
		}
	}
	s.expectIdle(t)
	held.exchange(t)
	for _, c := range conns {
		c.(*net.TCPConn).SetLinger(0) // an end could not pass the bytes that nobody reads
		c.Close()
	}
	held.end(t)
	s.expectBaseline(t)
	for _, line := range s.lines("session") {
		if reason := line["reason"]; line["listener"] == "deaf" && reason != "half-close-timeout" && reason != "client-reset" {
			t.Errorf("reason: got %v; want half-close-timeout or client-reset", reason)
		}
	}
}

func TestBackendThatResetsAtOnce(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
		}
	}()
	s := serveUnder(t, fewFiles, pool{name: "db", backends: []string{echo(t, "")}}, pool{name: "cut", backends: []string{l.Addr().String()}})
	held := s.hold(t, "db", 2)
	var clients sync.WaitGroup
	for range 60 {
		clients.Go(func() {
			if err := talk(s.addr["cut"]); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("client of a backend that resets: got %v; want to hear of it", err)
			}
		})
	}
	clients.Wait()
	held.exchange(t)
	s.expectIdle(t)
	held.end(t)
}

// A backend comes and goes while clients do. Those of the other backend notice
// nothing, and a client that finds it gone gets the other one.
func TestFlappingBackend(t *testing.T) {
	const steady, flapping = "s", "f"
	f := &flapper{addr: "127.0.0.2:0", greeting: flapping} // in 127.0.0.2 nobody else gets the port meanwhile
	f.open(t)
	s := serveUnder(t, 1024, pool{
		name: "db", health: "tcp",
		backends: []string{echo(t, steady), f.addr},
	})

	var stop atomic.Bool
	var ofSteady, ofFlapping atomic.Int64 // clients that were served
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for !stop.Load() {
				greeting, err := visit(s.addr["db"], 20)
				switch {
				case greeting == steady && err != nil:
					t.Errorf("client of the steady backend: %v", err)
				case greeting == steady:
					ofSteady.Add(1)
				case err == nil:
					ofFlapping.Add(1)
				}
			}
		})
	}
	held := s.holdWith(t, steady)
	for range 15 {
		awaitMore(t, &ofFlapping, "a backend that came back")
		f.shut()
		awaitMore(t, &ofSteady, "the steady backend")
		held.exchange(t)
		f.open(t)
	}
	stop.Store(true)
	clients.Wait()
	held.end(t)
	f.shut()
	s.expectBaseline(t)
	s.stop(t)
	for _, line := range s.lines("session") {
		switch reason := line["reason"]; reason {
		case "no-backend", "connect-failed", "error", "limit":
			t.Errorf("session %v: got reason %v; want none that is ours", line, reason)
		}
	}
}

// pool is what serveUnder is to serve.
type pool struct {
	name     string
	health   string // none if empty
	backends []string
}

// instance is a limeload that runs with a limit on open files.
type instance struct {
	*child
	files    int
	addr     map[string]string // by pool
	baseline map[string]int    // descriptors when nothing had happened yet
	stopped  bool
}

// serveUnder starts limeload with a listener for each pool; it is stopped, and its
// descriptors are counted, when the test ends.
func serveUnder(t *testing.T, files int, pools ...pool) *instance {
	t.Helper()
	return serveFile(t, files, configOf(pools))
}

// serveFile is serveUnder with a configuration of the test's own.
func serveFile(t *testing.T, files int, config string) *instance {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "limeload.toml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	limit := fmt.Sprintf(`ulimit -n %d; exec "$@"`, files)
	c := exec.Command("sh", "-c", limit, "sh", "limeload", "serve", "-c", file)
	c.Env = append(os.Environ(), "RUNTIME_DIRECTORY="+dir)
	p, err := start(c, filepath.Join(dir, "limeload"))
	if err != nil {
		t.Fatal(err)
	}
	s := &instance{child: p, files: files, addr: map[string]string{}}
	t.Cleanup(func() { s.finish(t) })
	if !until(func() bool { return len(s.lines("started")) > 0 }) {
		t.Fatal("limeload does not start")
	}
	for _, line := range s.lines("listening") {
		s.addr[line["pool"].(string)] = line["address"].(string)
	}
	s.baseline = s.descriptors()
	return s
}

func configOf(pools []pool) string {
	var b strings.Builder
	b.WriteString("[engine]\nthreads = 2\n[shutdown]\ndrain_timeout = \"5s\"\n")
	for _, p := range pools {
		if p.health == "" {
			p.health = "none"
		}
		fmt.Fprintf(&b, "[[listener]]\nname = %q\nlisten = [\"127.0.0.1:0\"]\npool = %[1]q\n", p.name)
		b.WriteString("[listener.timeouts]\nhalf_close = \"500ms\"\n")
		fmt.Fprintf(&b, "[[pool]]\nname = %q\n[pool.breaker]\nenabled = false\n[pool.health]\ntype = %q\ninterval = \"20ms\"\n", p.name, p.health)
		for _, a := range p.backends {
			fmt.Fprintf(&b, "[[pool.backend]]\naddress = %q\n", a)
		}
	}
	return b.String()
}

// finish ends the test of an instance, and tells what it said if the test failed.
func (s *instance) finish(t *testing.T) {
	if s.baseline != nil && !s.stopped {
		s.expectBaseline(t)
	}
	s.stop(t)
	if t.Failed() {
		log, _ := os.ReadFile(s.log)
		t.Logf("end of its log:\n%s", log[max(0, len(log)-4000):])
	}
}

// stop asks it to end; that must be by status 0.
func (s *instance) stop(t *testing.T) {
	t.Helper()
	if s.stopped {
		return
	}
	s.stopped = true
	s.cmd.Process.Signal(unix.SIGTERM)
	if status, err := s.wait(); err != nil || status != "0" {
		t.Errorf("exit status: got %s, %v; want 0", status, err)
	}
}

// lines are the log's lines with this message.
func (s *instance) lines(msg string) (found []map[string]any) {
	log, _ := os.ReadFile(s.log)
	for line := range bytes.Lines(log) {
		var doc map[string]any
		if json.Unmarshal(line, &doc) == nil && doc["msg"] == msg {
			found = append(found, doc)
		}
	}
	return found
}

// maxConnections is how many sessions it says that it has room for.
func (s *instance) maxConnections() int {
	return int(s.lines("started")[0]["max_connections"].(float64))
}

// descriptors counts its open files by kind: "socket", "pipe", "anon_inode" and
// others.
func (s *instance) descriptors() map[string]int {
	dir := fmt.Sprintf("/proc/%d/fd", s.cmd.Process.Pid)
	entries, _ := os.ReadDir(dir)
	counts := map[string]int{}
	for _, e := range entries {
		link, _ := os.Readlink(filepath.Join(dir, e.Name()))
		kind, _, _ := strings.Cut(link, ":")
		counts[kind]++
	}
	return counts
}

// expectBaseline waits until it has no more sockets than at the start, and no more
// pipes than it may keep empty for the next ones.
func (s *instance) expectBaseline(t *testing.T) {
	t.Helper()
	var now map[string]int
	if !until(func() bool {
		now = s.descriptors()
		return now["socket"] <= s.baseline["socket"] && now["pipe"] <= s.files/8
	}) {
		t.Errorf("descriptors: got %v; want as at the start, %v", now, s.baseline)
	}
}

// expectIdle waits for a moment in which it takes less than a quarter of one
// processor: whoever spins never has one.
func (s *instance) expectIdle(t *testing.T) {
	t.Helper()
	if !until(func() bool {
		wall, cpu := time.Now(), s.cpu(t)
		time.Sleep(200 * time.Millisecond) // the length of the measurement
		return s.cpu(t)-cpu < time.Since(wall)/4
	}) {
		t.Error("processor time: it spins")
	}
}

// cpu is the processor time that it took so far, to 10 ms: utime and stime of
// proc_pid_stat(5), in ticks of USER_HZ, which is 100 on every architecture.
func (s *instance) cpu(t *testing.T) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // from the third on
	var ticks time.Duration
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		ticks += time.Duration(n)
	}
	return ticks * 10 * time.Millisecond
}

// sessions are some that are fine.
type sessions []net.Conn

// hold opens n sessions with a pool.
func (s *instance) hold(t *testing.T, pool string, n int) (held sessions) {
	t.Helper()
	for range n {
		c, err := dial(s.addr[pool])
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
	}
	held.exchange(t)
	return held
}

// exchange wants every session to be fine still.
func (held sessions) exchange(t *testing.T) {
	t.Helper()
	for _, c := range held {
		c.SetDeadline(time.Now().Add(patience))
		if err := exchange(c, "still here"); err != nil {
			t.Errorf("session that was fine: %v", err)
		}
	}
}

// end exchanges a last time.
func (held sessions) end(t *testing.T) {
	t.Helper()
	held.exchange(t)
	held.close()
}

func (held sessions) close() {
	for _, c := range held {
		c.Close()
	}
}

// holdWith opens a session with the backend of db that greets so.
func (s *instance) holdWith(t *testing.T, greeting string) sessions {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		c, err := dial(s.addr["db"])
		if err != nil {
			t.Fatal(err)
		}
		first := make([]byte, len(greeting))
		if io.ReadFull(c, first); string(first) == greeting {
			return sessions{c}
		}
		c.Close()
	}
	t.Fatalf("no session with backend %q", greeting)
	return nil
}

// awaitMore waits until n has grown.
func awaitMore(t *testing.T, n *atomic.Int64, whose string) {
	t.Helper()
	before := n.Load()
	if !until(func() bool { return n.Load() > before }) {
		t.Fatalf("%s: got no client that was served", whose)
	}
}

// visit reads the greeting of one byte, and exchanges n lines.
func visit(addr string, n int) (greeting string, err error) {
	c, err := dial(addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	first := make([]byte, 1)
	if _, err := io.ReadFull(c, first); err != nil {
		return "", err
	}
	for i := range n {
		if err := exchange(c, "visit "+strconv.Itoa(i)); err != nil {
			return string(first), err
		}
	}
	return string(first), nil
}

// flapper is a backend that comes and goes.
type flapper struct {
	addr, greeting string // port 0 until it was first open
	server         *echoServer
}

func (f *flapper) open(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	f.addr, f.server = l.Addr().String(), serveEcho(l, f.greeting)
	t.Cleanup(f.server.close)
}

func (f *flapper) shut() { f.server.close() }

// echo is the address of an echo server that lives as long as the test.
func echo(t *testing.T, greeting string) string {
	t.Helper()
	s := serveEcho(listen(t, "127.0.0.1:0"), greeting)
	t.Cleanup(s.close)
	return s.listener.Addr().String()
}

func listen(t *testing.T, addr string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// fill writes until nothing is taken any more, and answers how much was.
func fill(c net.Conn) (taken int) {
	b := make([]byte, 64<<10)
	for {
		c.SetWriteDeadline(time.Now().Add(250 * time.Millisecond))
		n, err := c.Write(b)
		if taken += n; err != nil && n == 0 {
			return taken
		}
	}
}

func noise(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for chunk := range slices.Chunk(b, 8) {
		copy(chunk, strconv.AppendUint(nil, r.Uint64(), 36))
	}
	return b
}

// outOfBand sends a byte as urgent data (RFC 6093).
func outOfBand(c *net.TCPConn) {
	raw, err := c.SyscallConn()
	if err == nil {
		raw.Control(func(fd uintptr) { unix.Sendto(int(fd), []byte("!"), unix.MSG_OOB, nil) })
	}
}
