//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// overloadFiles leaves room for less than 200 sessions.
	overloadFiles = 512
	// spell is how long throughput is measured, the length of a measurement, and spells
	// how often at most: attackers that come all at once, or others on the machine, may
	// have one of them.
	spell  = time.Second
	spells = 5
	// filling is the same where attackers write and never read: until what lies between is
	// full, which may be a gigabyte, they are sessions as any.
	filling = 40
	// knownSources is how many clients' addresses the table has room for.
	knownSources = 16384
)

// overload is how much an engine has to bear.
type overload struct {
	engine string
	// sources is how many client addresses come, if the machine is quick enough to have
	// them come within storm.
	sources uint32
	storm   time.Duration
}

// The engine of goroutines gets a smaller storm: it accepts more slowly, with one goroutine
// for the listener, and the table of sources is the same for both.
var overloads = []overload{
	{"splice", 100_000, 12 * time.Second},
	{"copy", 20_000, 6 * time.Second},
}

// config has limits that nobody reaches, and are asked of every client: what has a bound
// is the table of their sources.
func (o overload) config(backend string) string {
	overloaded := strings.NewReplacer(
		"[engine]", fmt.Sprintf("[limits]\nsource_entries = %d\n[engine]\ntype = %q", knownSources, o.engine),
		"half_close", "idle = \"5s\"\nhalf_close",
		"[[pool]]", "[listener.limits.source]\nconnections = 10000\nrate = 1000000\n[[pool]]",
	)
	return "[admin]\nlisten = \"127.0.0.1:0\"\n" + overloaded.Replace(configOf([]pool{{name: "db", backends: []string{backend}}}))
}

// Beyond every limit, sessions that are established keep moving and the admin API
// answers; afterwards nothing is left of the crowd.
//
// Clients, attackers, backend and limeload share the machine, so a figure means little
// by itself. The control are streams to the same backend that do not go through
// limeload: how many bytes go through for each that goes past is measured in peace and
// under attack, and may fall to a tenth.
func TestOverload(t *testing.T) {
	for _, o := range overloads {
		t.Run(o.engine, o.run)
	}
}

func (o overload) run(t *testing.T) {
	backend := echo(t, "")
	s := serveFile(t, overloadFiles, o.config(backend))
	api := &questioner{t: t, base: s.lines("admin API")[0]["address"].(string)}
	rest := api.goroutines()

	through, past := streamTo(t, s.addr["db"]), streamTo(t, backend)
	peace := share(through, past)
	t.Logf("in peace: %.2f bytes through limeload for each past it", peace)
	for _, tt := range []struct {
		name   string
		attack func(*testing.T, *instance) (stop func())
		spells int
	}{
		{"more clients than descriptors", crowd, spells},
		{"more new connections than it can take, of very many sources", o.bringStorm, spells},
		{"clients that write and never read", stalled, filling},
		{"clients that are half closed, and clients that vanished", halfOpen, spells},
		{"garbage and silence at the admin port", func(t *testing.T, _ *instance) func() { return garbage(t, api.address()) }, spells},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stop := tt.attack(t, s)
			answered := api.keepAsking(t)
			got := share(through, past)
			for n := 1; got < peace/10 && n < tt.spells; n++ {
				got = share(through, past)
			}
			t.Logf("%.2f bytes through limeload for each past it; %d answers of the API", got, answered())
			if got < peace/10 {
				t.Errorf("established sessions: got %.3f bytes through for each past; want a tenth of %.2f at least", got, peace)
			}
			stop()
		})
	}
	through.end(t)
	past.end(t)
	s.expectBaseline(t)
	if !until(func() bool { return api.gauge("limeload_sessions_active") == 0 }) {
		t.Errorf("sessions afterwards: got %v; want none", api.gauge("limeload_sessions_active"))
	}
	known, forgotten := api.gauge("limeload_sources_known"), api.gauge("limeload_sources_forgotten_total")
	t.Logf("%v sources known, %v forgotten", known, forgotten)
	if known == 0 || known > knownSources {
		t.Errorf("sources known afterwards: got %v; want some, and %d at most", known, knownSources)
	}
	if !until(func() bool { return api.goroutines() <= rest+8 }) {
		t.Errorf("goroutines afterwards: got %v; want about %v", api.goroutines(), rest)
	}
}

// streams are sessions that send all the time and check what comes back.
type streams struct {
	conns []net.Conn
	moved atomic.Int64 // bytes that came back
	done  atomic.Bool
	tasks sync.WaitGroup
	errs  chan error
}

func streamTo(t *testing.T, addr string) *streams {
	t.Helper()
	const n = 4
	s := &streams{errs: make(chan error, n)}
	for i := range n {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		s.conns = append(s.conns, c)
		s.tasks.Go(func() { s.run(c, byte(i)) })
	}
	return s
}

func (s *streams) run(c net.Conn, seed byte) {
	out, in := make([]byte, 16<<10), make([]byte, 16<<10)
	random := rand.New(rand.NewPCG(uint64(seed), 0))
	for !s.done.Load() {
		copy(out, noise(random, 64))
		c.SetDeadline(time.Now().Add(patience))
		if _, err := c.Write(out); err != nil {
			s.errs <- err
			return
		}
		if _, err := io.ReadFull(c, in); err != nil {
			s.errs <- err
			return
		}
		if !bytes.Equal(in, out) {
			s.errs <- fmt.Errorf("stream %d: bytes changed", seed)
			return
		}
		s.moved.Add(int64(len(in)))
	}
}

// end stops the streams, all of which must have been fine until now.
func (s *streams) end(t *testing.T) {
	t.Helper()
	s.done.Store(true)
	s.tasks.Wait()
	close(s.errs)
	for err := range s.errs {
		t.Errorf("established session: %v", err)
	}
	for _, c := range s.conns {
		c.Close()
	}
}

// share is how many bytes went through limeload for each that went past it, over a
// spell.
func share(through, past *streams) float64 {
	t0, p0 := through.moved.Load(), past.moved.Load()
	time.Sleep(spell)
	return float64(through.moved.Load()-t0) / float64(max(past.moved.Load()-p0, 1))
}

// attackers run until they are stopped.
type attackers struct {
	ctx   context.Context
	tasks sync.WaitGroup
	mu    sync.Mutex
	conns []net.Conn
}

func newAttackers() (a *attackers, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	a = &attackers{ctx: ctx}
	return a, func() {
		cancel()
		a.mu.Lock()
		for _, c := range a.conns {
			c.Close()
		}
		a.mu.Unlock()
		a.tasks.Wait()
	}
}

// dial connects, if it can; the connection is held until the end.
func (a *attackers) dial(network, addr string) net.Conn {
	d := net.Dialer{Timeout: time.Second}
	c, err := d.DialContext(a.ctx, network, addr)
	if err != nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.conns = append(a.conns, c)
	if a.ctx.Err() != nil {
		c.Close()
	}
	return c
}

// each runs f for n connections to addr at the same time, and returns when half of them
// are there. Who does not get in within a second tries again.
func (a *attackers) each(t *testing.T, n int, addr string, f func(i int, c *net.TCPConn)) {
	t.Helper()
	var there atomic.Int64
	for i := range n {
		a.tasks.Go(func() {
			for ; a.ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
				if c := a.dial("tcp", addr); c != nil {
					there.Add(1)
					f(i, c.(*net.TCPConn))
					return
				}
			}
		})
	}
	if !until(func() bool { return there.Load() >= int64(n/2) }) {
		t.Errorf("attackers that came: got %d; want %d", there.Load(), n/2)
	}
}

func crowd(t *testing.T, s *instance) func() {
	a, stop := newAttackers()
	a.each(t, 4*overloadFiles, s.addr["db"], func(_ int, c *net.TCPConn) { c.Write([]byte("let me in\n")) })
	return stop
}

// bringStorm connects from ever new addresses of 127.0.0.0/8 and resets at once.
func (o overload) bringStorm(t *testing.T, s *instance) func() {
	a, stop := newAttackers()
	to := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s.addr["db"]))
	var sources atomic.Uint32
	began := time.Now()
	for range 64 {
		a.tasks.Go(func() {
			for a.ctx.Err() == nil {
				i := sources.Add(1)
				from := &net.TCPAddr{IP: net.IPv4(127, 16+byte(i>>16), byte(i>>8), byte(i))}
				d := net.Dialer{LocalAddr: from, Timeout: time.Second}
				if c, err := d.DialContext(a.ctx, "tcp", to.String()); err == nil {
					c.(*net.TCPConn).SetLinger(0)
					c.Close()
				}
			}
		})
	}
	return func() {
		for !testing.Short() && sources.Load() < o.sources && time.Since(began) < o.storm {
			time.Sleep(10 * time.Millisecond) // the pace of looking
		}
		t.Logf("%d sources in %v", sources.Load(), time.Since(began).Round(time.Millisecond))
		stop()
	}
}

// stalled fills all that lies between clients and an echo, but no more than half of what the
// system has for TCP before it is short: beyond that it resets whom it likes.
func stalled(t *testing.T, s *instance) func() {
	const clients = overloadFiles / 4
	a, stop := newAttackers()
	b := make([]byte, 1<<20)
	most := memoryForTCP(t) / 2 / clients
	a.each(t, clients, s.addr["db"], func(_ int, c *net.TCPConn) {
		c.SetReadBuffer(4096)
		for sent := 0; sent < most && a.ctx.Err() == nil; sent += len(b) {
			if _, err := c.Write(b); err != nil {
				return
			}
		}
	})
	return stop
}

// memoryForTCP is from how many bytes on the system saves them (tcp(7), tcp_mem).
func memoryForTCP(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/sys/net/ipv4/tcp_mem")
	if err != nil {
		t.Fatal(err)
	}
	var low, pressure, high int
	if _, err := fmt.Sscan(string(text), &low, &pressure, &high); err != nil {
		t.Fatalf("tcp_mem: %v", err)
	}
	return pressure * os.Getpagesize()
}

// halfOpen has clients that end their direction and stay, and clients that are gone
// without a word, as a machine that lost its power: a socket under repair closes so
// (TCP_REPAIR, for root).
func halfOpen(t *testing.T, s *instance) func() {
	a, stop := newAttackers()
	a.each(t, overloadFiles/4, s.addr["db"], func(i int, c *net.TCPConn) {
		c.Write([]byte("hello\n"))
		if i%2 == 0 {
			c.CloseWrite()
			return
		}
		raw, err := c.SyscallConn()
		if err != nil {
			return
		}
		raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_REPAIR, 1) })
		if err == nil {
			c.Close()
		}
	})
	return stop
}

// garbage sends to the admin port what is no request, or none that ends.
func garbage(t *testing.T, addr string) func() {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	bytes := noise(random, 100_000)
	a, stop := newAttackers()
	a.each(t, 2*overloadFiles, addr, func(i int, c *net.TCPConn) {
		switch i % 5 {
		case 0:
			c.Write(bytes)
		case 1:
			io.WriteString(c, "GET /api/v1/status HTTP/1.1\r\nHost: x\r\nX-Slow: ")
		case 2:
			io.WriteString(c, "GET /"+strings.Repeat("a", 200_000))
		case 3:
			io.WriteString(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
		} // and some say nothing
	})
	return stop
}

// questioner asks limeload's admin API, each time on a new connection.
type questioner struct {
	t    *testing.T
	base string
}

func (a *questioner) address() string { return strings.TrimPrefix(a.base, "http://") }

func (a *questioner) get(path string) (string, error) {
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get(a.base + path)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", r.Status, body)
	}
	return string(body), err
}

// keepAsking asks until the answer's function is called, which tells how often. Every
// question must be answered.
func (a *questioner) keepAsking(t *testing.T) (answered func() int) {
	var n atomic.Int64
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			for _, path := range []string{"/readyz", "/api/v1/status", "/metrics"} {
				if _, err := a.get(path); err != nil {
					t.Errorf("admin API: %s: %v", path, err)
					return
				}
				n.Add(1)
			}
			select {
			case <-done:
				return
			default:
			}
		}
	}()
	return func() int {
		close(done)
		<-ended
		return int(n.Load())
	}
}

// gauge is the value of a metric without labels.
func (a *questioner) gauge(name string) float64 {
	a.t.Helper()
	text, err := a.get("/metrics")
	if err != nil {
		a.t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(text)
	if m == nil {
		a.t.Fatalf("/metrics has no %s", name)
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		a.t.Fatal(err)
	}
	return v
}

func (a *questioner) goroutines() float64 { return a.gauge("go_goroutines") }
