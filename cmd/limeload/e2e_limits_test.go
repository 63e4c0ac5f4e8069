//go:build linux

package main_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// guarded is a configuration of one listener with these tables, in front of backends
// without probes. The engine has more loops than there are processors.
func guarded(engine, process, listener, pool string, backends ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "log = { format = \"json\" }\nengine = { type = %q, threads = 8 }\nadmin = { listen = \"\" }\n%s\n", engine, process)
	fmt.Fprintf(&b, "[[listener]]\nname = \"door\"\nlisten = [\"127.0.0.1:0\"]\npool = \"pool\"\n%s\n", listener)
	fmt.Fprintf(&b, "[[pool]]\nname = \"pool\"\nhealth = { type = \"none\" }\n%s\n", pool)
	for i, a := range backends {
		fmt.Fprintf(&b, "[[pool.backend]]\nname = \"%c\"\naddress = %q\n", 'a'+i, a)
	}
	return b.String()
}

// configure replaces the file and reloads. port 0 in it is then the port that it has.
func (l *limeload) configure(config string) {
	l.t.Helper()
	if err := os.WriteFile(l.cmd.Args[len(l.cmd.Args)-1], []byte(config), 0o600); err != nil {
		l.t.Fatal(err)
	}
	before := len(l.logged(fields{"msg": "reloaded"}))
	l.signal(syscall.SIGHUP)
	l.awaitCount(before+1, 0, fields{"msg": "reloaded"})
}

// guest is a client that was let in, as it saw that itself.
type guest struct {
	net.Conn
	from             netip.Addr
	knocked, entered time.Time
	left             time.Time // when it began to leave; zero if it is still there
	backend          byte
}

// leave ends the guest's connection.
func (g *guest) leave() {
	g.left = time.Now()
	g.Close()
}

// knock connects from an address and waits for the backend's name: nil if it was
// reset instead.
func knock(t *testing.T, address string, from netip.Addr) *guest {
	t.Helper()
	g := &guest{from: from, knocked: time.Now()}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from.AsSlice()}, Timeout: patience}
	c, err := d.Dial("tcp", address)
	if err != nil {
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("connect from %s: %v", from, err)
		}
		return nil
	}
	c.SetReadDeadline(time.Now().Add(patience))
	var name [1]byte
	if _, err := io.ReadFull(c, name[:]); err != nil {
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("from %s: %v; want a name or a reset", from, err)
		}
		c.Close()
		return nil
	}
	g.Conn, g.entered, g.backend = c, time.Now(), name[0]
	return g
}

// greeter is a backend that says its name at once, and then waits for the end.
type greeter struct {
	address string
	served  atomic.Int64 // connections that it has accepted
}

func startGreeter(t *testing.T, name byte) *greeter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &greeter{address: l.Addr().String()}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			g.served.Add(1)
			running.Go(func() {
				defer c.Close()
				c.Write([]byte{name})
				io.Copy(io.Discard, c)
			})
		}
	})
	t.Cleanup(func() { l.Close(); running.Wait() })
	return g
}

// visits are what happened, in the eyes of clients.
type visits []*guest

// concurrent is the most guests that were surely inside at one time: between the name
// of a backend and the beginning of their own end.
func (v visits) concurrent() (most int) {
	type change struct {
		at time.Time
		by int
	}
	var all []change
	for _, g := range v {
		all = append(all, change{g.entered, 1})
		if !g.left.IsZero() {
			all = append(all, change{g.left, -1})
		}
	}
	slices.SortFunc(all, func(a, b change) int {
		if c := a.at.Compare(b.at); c != 0 {
			return c
		}
		return a.by - b.by
	})
	now := 0
	for _, c := range all {
		now += c.by
		most = max(most, now)
	}
	return most
}

// within holds every window to rate*w + burst.
func (v visits) within(t *testing.T, what string, rate, burst int) {
	t.Helper()
	if n, w := v.beyond(rate, burst); n > 0 {
		t.Errorf("%s: %d let in within %v; want at most %d/s and %d at once", what, n, w, rate, burst)
	}
}

// beyond finds a window w with more than rate*w + burst, and how many it has; n is 0 if there
// is none. A guest was let in at some time between its knock and its entry: so those of which
// both lie in a window were let in there.
func (v visits) beyond(rate, burst int) (n int, w time.Duration) {
	for _, first := range v {
		var in []time.Time
		for _, g := range v {
			if !g.knocked.Before(first.knocked) {
				in = append(in, g.entered)
			}
		}
		slices.SortFunc(in, time.Time.Compare)
		for n, end := range in {
			w := end.Sub(first.knocked)
			if float64(n+1) > float64(rate)*w.Seconds()+float64(burst) {
				return n + 1, w
			}
		}
	}
	return 0, 0
}

func (v visits) by(key func(*guest) string) map[string]visits {
	all := map[string]visits{}
	for _, g := range v {
		all[key(g)] = append(all[key(g)], g)
	}
	return all
}

func bySource(g *guest) string { return g.from.String() }

// crowd sends clients from these sources, several of each at a time, until end: each
// stays for a moment. It answers those that were let in, and how many were not.
func crowd(t *testing.T, address string, sources []netip.Addr, each int, end time.Time) (in visits, out int) {
	t.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, from := range sources {
		for range each {
			all.Go(func() {
				for time.Now().Before(end) {
					g := knock(t, address, from)
					if g != nil {
						time.Sleep(rand.N(30 * time.Millisecond))
						g.leave()
					} else {
						time.Sleep(rand.N(5 * time.Millisecond))
					}
					mu.Lock()
					if g != nil {
						in = append(in, g)
					} else {
						out++
					}
					mu.Unlock()
				}
			})
		}
	}
	all.Wait()
	return in, out
}

// sources are so many loopback addresses.
func sources(n int) (all []netip.Addr) {
	for i := range n {
		all = append(all, netip.AddrFrom4([4]byte{127, 1, byte(i >> 8), byte(i)}))
	}
	return all
}

// reported sums the counts of the lines about refusals.
func (l *limeload) reported(want fields) (n int) {
	want["msg"] = "refused"
	for _, ln := range l.logged(want) {
		n += int(ln.number(l.t, "count"))
	}
	return n
}

// Many sources on many loops: no source and no window has more than it may, as the
// clients saw it.
func TestLimitsHold(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, engine string) {
		const each, eachRate, eachBurst, all, allRate, allBurst = 3, 20, 5, 20, 250, 10
		backend := startGreeter(t, 'a')
		l := serveText(t, guarded(engine, "", fmt.Sprintf(`
			[listener.limits]
			connections = %d
			rate = %d
			burst = %d
			[listener.limits.source]
			connections = %d
			rate = %d
			burst = %d`, all, allRate, allBurst, each, eachRate, eachBurst), "", backend.address))
		start := time.Now()
		in, out := crowd(t, l.address("door"), sources(24), 5, start.Add(1500*time.Millisecond))
		for from, v := range in.by(bySource) {
			if n := v.concurrent(); n > each {
				t.Errorf("%s: %d sessions at one time; want at most %d", from, n, each)
			}
			v.within(t, from, eachRate, eachBurst)
		}
		if n := in.concurrent(); n > all {
			t.Errorf("%d sessions at one time; want at most %d", n, all)
		}
		in.within(t, "all sources", allRate, allBurst)
		if n := int(backend.served.Load()); n != len(in) {
			t.Errorf("the backend saw %d connections; want the %d that were let in", n, len(in))
		}
		if len(in) < allBurst || out == 0 {
			t.Errorf("%d let in, %d not; want some of both", len(in), out)
		}
		t.Logf("%d let in, %d refused in %v", len(in), out, time.Since(start))
		l.signal(syscall.SIGTERM)
		l.status()
		if n := l.reported(fields{}); n != out {
			t.Errorf("the log tells of %d refusals; want %d", n, out)
		}
	})
}

// A dry run lets everybody in, and tells whom it would not have.
func TestLimitsDryRun(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, engine string) {
		backend := startGreeter(t, 'a')
		l := serveText(t, guarded(engine, "", `
			access = { deny = ["127.0.0.2"], dry_run = true }
			[listener.limits]
			connections = 1
			dry_run = true
			[listener.limits.source]
			rate = 1
			burst = 2
			dry_run = true
			action = "delay"`, `limits = { rate = 1, burst = 1, dry_run = true }`, backend.address))
		for range 10 {
			g := knock(t, l.address("door"), netip.MustParseAddr("127.0.0.2"))
			if g == nil {
				t.Fatal("a dry run refused")
			}
			defer g.leave()
		}
		l.signal(syscall.SIGHUP)
		for reason, least := range map[string]int{"access-denied": 10, "limit-connections": 9, "limit-source-rate": 1, "limit-backend-rate": 1} {
			ln := l.await(fields{"msg": "refused", "reason": reason, "dry_run": true, "listener": "door", "client": "127.0.0.2"})
			if ln.number(t, "count") < 1 {
				t.Errorf("%s: got no count", reason)
			}
			eventually(t, reason+" is counted", func() bool { return l.reported(fields{"reason": reason, "dry_run": true}) >= least })
		}
		if n := l.reported(fields{"dry_run": false}); n != 0 {
			t.Errorf("%d were refused; want none", n)
		}
	})
}

// A limit that a reload lowers holds from then on, for who is inside as well.
func TestLimitsReload(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, engine string) {
		backend := startGreeter(t, 'a')
		with := func(limits string) string { return guarded(engine, "", limits, "", backend.address) }
		l := serveText(t, with(""))
		address := l.address("door")
		me, other := netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3")
		var inside visits
		enter := func(n int) {
			t.Helper()
			for range n {
				g := knock(t, address, me)
				if g == nil {
					t.Fatalf("refused with %d inside", len(inside))
				}
				inside = append(inside, g)
			}
		}
		leave := func(n int) {
			t.Helper()
			for _, g := range inside[:n] {
				done := len(l.logged(fields{"msg": "session"}))
				g.leave()
				l.awaitCount(done+1, 0, fields{"msg": "session"})
			}
			inside = inside[n:]
		}
		refused := func(from netip.Addr) {
			t.Helper()
			if g := knock(t, address, from); g != nil {
				t.Errorf("let in with %d inside", len(inside))
				g.leave()
			}
		}
		enter(5)
		l.configure(with("limits = { source = { connections = 3 } }"))
		refused(me)
		leave(2)
		refused(me)
		leave(1)
		enter(1)
		refused(me)
		if g := knock(t, address, other); g == nil {
			t.Error("another source was refused")
		} else {
			g.leave()
			l.session(g.LocalAddr()) // its network will count
		}
		l.configure(with("limits = { source = { connections = 5 } }"))
		enter(2)
		refused(me)
		l.configure(with("limits = { source = { connections = 4, prefix_v4 = 24 } }"))
		refused(other) // its network is what counts now
		leave(2)
		enter(1)
		refused(other)
		l.configure(with("limits = { connections = 2 }"))
		refused(other)
		leave(3)
		enter(1)
		refused(other)
		leave(2)

		l.configure(with("limits = { rate = 1000 }"))
		eventually(t, "more are let in than 20/s and 4 at once", func() bool {
			fast, _ := crowd(t, address, sources(4), 2, time.Now().Add(200*time.Millisecond))
			n, _ := fast.beyond(20, 4)
			return n > 0
		})
		l.configure(with("limits = { rate = 20, burst = 4 }"))
		slow, _ := crowd(t, address, sources(4), 2, time.Now().Add(800*time.Millisecond))
		slow.within(t, "after the reload", 20, 4)
		if len(slow) == 0 {
			t.Error("nobody was let in at 20/s")
		}
	})
}

// A client that is held waits unread for its turn; too many, or for too long, and it
// is reset.
func TestLimitsDelay(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, engine string) {
		backend := startGreeter(t, 'a')
		with := func(delay string) string {
			return guarded(engine, "", fmt.Sprintf(`limits = { connections = 1, action = "delay", max_delayed = 1, max_delay = %q }`, delay), "", backend.address)
		}
		l := serveText(t, with("1m"))
		address, me := l.address("door"), netip.MustParseAddr("127.0.0.2")
		first := knock(t, address, me)
		others := make(chan *guest, 2)
		for range 2 {
			go func() { others <- knock(t, address, me) }()
		}
		if g := <-others; g != nil {
			t.Fatal("a second client was let in; want it reset, while the other one is held")
		}
		if n := backend.served.Load(); n != 1 {
			t.Errorf("the backend saw %d connections; want 1", n)
		}
		first.leave()
		second := <-others
		if second == nil {
			t.Fatal("the held client was reset; want it let in after the first left")
		}
		l.configure(with("50ms"))
		if g := knock(t, address, me); g != nil {
			t.Error("a client was let in beyond the limit")
		}
		l.await(fields{"msg": "session", "reason": "limit", "error": "limit-delay"})
		second.leave()
		l.await(fields{"msg": "refused", "reason": "limit-delay"})
	})
}

// A backend gets no more connections per second than it may; who does not fit waits.
func TestBackendRate(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, engine string) {
		const rate, burst, clients = 40, 3, 60
		a, b := startGreeter(t, 'a'), startGreeter(t, 'b')
		l := serveText(t, guarded(engine, "", "", fmt.Sprintf("limits = { rate = %d, burst = %d, max_delay = \"1m\" }", rate, burst), a.address, b.address))
		address := l.address("door")
		var mu sync.Mutex
		var in visits
		var all sync.WaitGroup
		for _, from := range sources(clients) {
			all.Go(func() {
				g := knock(t, address, from)
				if g == nil {
					t.Error("a client was reset; want it to wait")
					return
				}
				g.leave()
				mu.Lock()
				in = append(in, g)
				mu.Unlock()
			})
		}
		all.Wait()
		for name, v := range in.by(func(g *guest) string { return string(g.backend) }) {
			v.within(t, "backend "+name, rate, burst)
			if len(v) < clients/4 {
				t.Errorf("backend %s had %d of %d clients; want about half", name, len(v), clients)
			}
		}
	})
}

// Lists are read at the start, at reloads, and when their files change; a file with
// an error changes nothing. Who is denied does not touch a backend.
func TestAccessList(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, engine string) {
		file := filepath.Join(t.TempDir(), "deny.txt")
		write := func(text string) {
			t.Helper()
			next := file + ".new"
			if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(next, file); err != nil {
				t.Fatal(err)
			}
		}
		write("# nobody yet\n")
		backend := startGreeter(t, 'a')
		with := func(more string) string {
			return guarded(engine, "", fmt.Sprintf("[listener.access]\nallow = [\"127.0.0.0/24\", \"127.0.2.7\"]\ndefault = \"deny\"\ndeny_files = [%q]\n%s", file, more), "", backend.address)
		}
		l := serveText(t, with(""))
		address := l.address("door")
		enters := func(from string) bool {
			g := knock(t, address, netip.MustParseAddr(from))
			if g != nil {
				g.leave()
			}
			return g != nil
		}
		want := func(from string, in bool) {
			t.Helper()
			before := backend.served.Load()
			if got := enters(from); got != in {
				t.Errorf("%s: let in %v; want %v", from, got, in)
			}
			if n := backend.served.Load() - before; n != 0 && !in {
				t.Errorf("%s: the backend saw a connection of who is denied", from)
			}
		}
		want("127.0.0.9", true)
		want("127.0.2.7", true)
		want("127.0.2.8", false)
		l.await(fields{"msg": "refused", "reason": "access-denied", "client": "127.0.2.8", "rule": "deny by default"})

		write("127.0.0.8/31 # two of them\n")
		l.await(fields{"msg": "access list changed", "listener": "door", "new": 3})
		want("127.0.0.9", false)
		want("127.0.0.10", true)
		l.await(fields{"msg": "refused", "rule": "deny 127.0.0.8/31 (" + file + ":1)"})

		write("127.0.0.10\n\n127.0.0.300\n")
		wrong := file + `:3: "127.0.0.300" is not a network; want one such as "10.0.0.0/8" or "2001:db8::/32"`
		failed := l.await(fields{"msg": "access list not changed", "listener": "door", "level": "error", "error": wrong})
		want("127.0.0.9", false)
		want("127.0.0.10", true)
		if err := os.WriteFile(l.cmd.Args[len(l.cmd.Args)-1], []byte(with("allow_files = [\"/no/such/file\"]")), 0o600); err != nil {
			t.Fatal(err)
		}
		l.signal(syscall.SIGHUP)
		l.await(fields{"msg": "reload failed, nothing changed", "problem": wrong})
		l.await(fields{"msg": "reload failed, nothing changed", "problem": "access list: open /no/such/file: no such file or directory"})
		want("127.0.0.10", true)

		write("127.0.0.10\n")
		l.awaitAfter(failed, fields{"msg": "access list changed", "new": 3})
		want("127.0.0.9", true)
		want("127.0.0.10", false)
		l.configure(guarded(engine, "", "", "", backend.address))
		want("127.0.2.8", true)
	})
}

// More sources than the table has room for do not help one that has its share.
func TestSourceFlood(t *testing.T) {
	t.Parallel()
	flood := 6000
	if raceDetector || testing.Short() {
		flood = 2000
	}
	backend := startGreeter(t, 'a')
	l := serveText(t, guarded("splice", "limits = { source_entries = 1024 }", "limits = { source = { connections = 2 } }", "", backend.address))
	address, holder := l.address("door"), netip.MustParseAddr("127.0.0.2")
	for range 2 {
		g := knock(t, address, holder)
		if g == nil {
			t.Fatal("refused before the limit")
		}
		defer g.leave()
	}
	work := make(chan netip.Addr)
	var workers sync.WaitGroup
	for range 16 {
		workers.Go(func() {
			for from := range work {
				if g := knock(t, address, from); g == nil {
					t.Errorf("%s was refused; want every newcomer let in", from)
				} else {
					g.leave()
				}
			}
		})
	}
	for i, from := range sources(flood) {
		work <- from
		if i%500 == 0 && knock(t, address, holder) != nil {
			t.Errorf("after %d other sources: a third session of who has two", i)
		}
	}
	close(work)
	workers.Wait()
	if knock(t, address, holder) != nil {
		t.Error("after the flood: a third session of who has two")
	}
}

// Near its memory limit the process refuses clients, and takes them again after that.
func TestMemoryLimit(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector's memory is not the program's")
	}
	t.Parallel()
	file := filepath.Join(t.TempDir(), "deny.txt")
	var list strings.Builder
	for i := range uint64(1_000_000) {
		i *= 0x9e3779b97f4a7c15 // all over the place, which takes the most memory (Knuth's multiplicative hash)
		fmt.Fprintf(&list, "2%03x:%x:%x:%x:%x:%x:%x:1\n", i>>52, i>>36&0xffff, i>>20&0xffff, i>>4&0xffff, i&0xffff, i>>8&0xffff, i>>16&0xffff)
	}
	if err := os.WriteFile(file, []byte(list.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	backend := startGreeter(t, 'a')
	with := func(access string) string {
		return guarded("splice", "limits = { memory = \"64MiB\" }", access, "", backend.address)
	}
	l := serveText(t, with(""))
	address, me := l.address("door"), netip.MustParseAddr("127.0.0.2")
	g := knock(t, address, me)
	if g == nil {
		t.Fatal("refused far from the limit")
	}
	l.configure(with(fmt.Sprintf("access = { deny_files = [%q] }", file)))
	l.await(fields{"msg": "memory limit", "refusing": true})
	if knock(t, address, me) != nil {
		t.Error("let in near the limit")
	}
	l.await(fields{"msg": "refused", "reason": "limit-memory", "client": "127.0.0.2"})
	if _, err := g.Write([]byte("x")); err != nil {
		t.Errorf("a session of before: %v; want it to go on", err)
	}
	g.leave()
	l.configure(with(""))
	eventually(t, "a client is let in after the memory was given back", func() bool {
		g := knock(t, address, me)
		if g != nil {
			g.leave()
		}
		return g != nil
	})
	l.await(fields{"msg": "memory limit", "refusing": false})
}

// The process's own max_connections makes clients of all listeners wait in the kernel.
func TestProcessMaxConnections(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, engine string) {
		backend := startGreeter(t, 'a')
		second := "[[listener]]\nname = \"other\"\nlisten = [\"127.0.0.1:0\"]\npool = \"pool\"\n"
		l := serveText(t, guarded(engine, "limits = { max_connections = 1 }", second, "", backend.address))
		if n := l.await(fields{"msg": "started"}).number(t, "max_connections"); n != 1 {
			t.Errorf("it says %v; want max_connections=1", n)
		}
		me := netip.MustParseAddr("127.0.0.2")
		first := knock(t, l.address("door"), me)
		waiting := make(chan *guest)
		go func() { waiting <- knock(t, l.address("other"), me) }()
		select {
		case <-waiting:
			t.Fatal("a second client came in, or was reset")
		case <-time.After(200 * time.Millisecond):
		}
		first.leave()
		if g := <-waiting; g == nil {
			t.Error("the waiting client was reset; want it let in")
		} else {
			g.leave()
		}
	})
}
