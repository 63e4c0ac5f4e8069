package healthcheck

import (
	"context"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// ways are the two kinds of socket, and what makes each the one in use in a new
// network namespace. Raw comes first: it is the default, to which a user
// namespace that knows a single group cannot set the sysctl back.
var ways = []struct {
	name   string
	choose func(*testing.T)
}{
	{"raw", func(*testing.T) {}},
	{"ping socket", permitPingSockets},
}

// permitPingSockets permits them to group 0, which the tests run as.
func permitPingSockets(t *testing.T) {
	t.Helper()
	setSysctl(t, "net/ipv4/ping_group_range", "0 0")
}

// loopback is an address of lo, without a port.
func loopback(ip string) Address {
	return Address{AddrPort: netip.AddrPortFrom(netip.MustParseAddr(ip), 0)}
}

func TestICMP(t *testing.T) {
	if !insideNamespace(t) {
		return
	}
	run(t, "ip", "addr", "add", "fe80::1/64", "dev", "lo", "nodad")
	awaitLocalRoute(t, "fe80::1")
	for _, way := range ways {
		way.choose(t)
		for _, ip := range []string{"127.0.0.1", "::1", "::ffff:127.0.0.1", "fe80::1%lo"} {
			t.Run(way.name+"/"+ip, func(t *testing.T) {
				r := probe(t, NewICMP(), loopback(ip), patience)
				expect(t, r, Up, "")
				if r.Phases[0].Name != "echo" {
					t.Errorf("phase: got %q; want echo", r.Phases[0].Name)
				}
			})
		}
	}
	t.Run("a ping socket needs no capability", func(t *testing.T) {
		withoutRaw(func() {
			for _, ip := range []string{"127.0.0.1", "::1"} {
				expect(t, probe(t, NewICMP(), loopback(ip), patience), Up, "")
			}
		})
	})
}

// withoutRaw calls f on a thread without CAP_NET_RAW, which dies with it.
func withoutRaw(f func()) {
	var wg sync.WaitGroup
	wg.Go(func() {
		runtime.LockOSThread() // and never unlock: the capability does not come back
		none := [2]unix.CapUserData{}
		if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0]); err != nil {
			panic(err)
		}
		f()
	})
	wg.Wait()
}

func TestICMPWithoutPermissionIsUnknownAndSaysWhatWouldHelp(t *testing.T) {
	if !insideNamespace(t) {
		return
	}
	withoutRaw(func() {
		for _, ip := range []string{"127.0.0.1", "::1"} {
			r := probe(t, NewICMP(), loopback(ip), patience)
			expect(t, r, Unknown, ReasonNotPermitted)
			for _, remedy := range []string{"net.ipv4.ping_group_range", "CAP_NET_RAW"} {
				if !strings.Contains(r.Text(), remedy) {
					t.Errorf("text: got %q; want it to name %s", r.Text(), remedy)
				}
			}
		}
	})
}

func TestICMPManyProbesAtOnce(t *testing.T) {
	if !insideNamespace(t) {
		return
	}
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			way.choose(t)
			p := NewICMP()
			var wg sync.WaitGroup
			for range 200 {
				wg.Go(func() {
					for _, ip := range []string{"127.0.0.1", "127.0.0.2", "::1"} {
						expect(t, probe(t, p, loopback(ip), patience), Up, "")
					}
				})
			}
			wg.Wait()
			if p.raw4.open != nil || p.raw6.open != nil {
				t.Error("a raw socket is open after the last probe; want none")
			}
		})
	}
}

// The kernel is told not to answer, and the test answers in its place.
func TestICMPForeignRepliesAreNotOurs(t *testing.T) {
	if !insideNamespace(t) {
		return
	}
	setSysctl(t, "net/ipv4/icmp_echo_ignore_all", "1")
	forgeries := []struct {
		name    string
		forge   func(*icmp.Echo)
		verdict Verdict
	}{
		{"true reply", func(*icmp.Echo) {}, Up},
		{"other id", func(e *icmp.Echo) { e.ID ^= 1 }, Down},
		{"other sequence", func(e *icmp.Echo) { e.Seq ^= 1 }, Down},
		{"other payload", func(e *icmp.Echo) { e.Data[15] ^= 1 }, Down},
		{"shorter payload", func(e *icmp.Echo) { e.Data = e.Data[:15] }, Down},
		{"no payload", func(e *icmp.Echo) { e.Data = nil }, Down},
	}
	for _, way := range ways {
		way.choose(t)
		for _, tt := range forgeries {
			t.Run(way.name+"/"+tt.name, func(t *testing.T) {
				within := patience
				if tt.verdict == Down {
					within = 50 * time.Millisecond
				}
				answerEchoes(t, tt.forge)
				r := probe(t, NewICMP(), loopback("127.0.0.1"), within)
				expect(t, r, tt.verdict, map[Verdict]Reason{Down: ReasonTimeout}[tt.verdict])
			})
		}
	}
}

// answerEchoes answers each echo request to 127.0.0.1, after forge has changed
// the reply, until the test ends.
func answerEchoes(t *testing.T, forge func(*icmp.Echo)) {
	t.Helper()
	conn, err := icmp.ListenPacket("ip4:icmp", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { conn.Close(); wg.Wait() })
	wg.Go(func() {
		var b [1500]byte
		for {
			n, from, err := conn.ReadFrom(b[:])
			if err != nil {
				return
			}
			m, err := icmp.ParseMessage(protocolICMP, b[:n])
			if err != nil || m.Type != ipv4.ICMPTypeEcho {
				continue
			}
			forge(m.Body.(*icmp.Echo))
			reply, _ := (&icmp.Message{Type: ipv4.ICMPTypeEchoReply, Body: m.Body}).Marshal(nil)
			conn.WriteTo(reply, from)
		}
	})
}

func TestICMPCanceledProbeIsUnknown(t *testing.T) {
	if !insideNamespace(t) {
		return
	}
	setSysctl(t, "net/ipv4/icmp_echo_ignore_all", "1")
	for _, way := range ways {
		way.choose(t)
		ctx, cancel := context.WithCancel(t.Context())
		results := make(chan Result, 1)
		go probeOne(ctx, NewICMP(), loopback("127.0.0.1"), results)
		cancel()
		expect(t, <-results, Unknown, ReasonCanceled)
	}
}

func TestICMPUnixSocketIsUnknown(t *testing.T) {
	expect(t, probe(t, NewICMP(), Address{Path: "/run/s"}, patience), Unknown, ReasonLocal)
}

// A broken raw socket answers all who wait on it, and the next probe opens a
// new one.
func TestRawSocketThatBreaks(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs CAP_NET_RAW")
	}
	s := &rawSocket{protocol: protocolICMP}
	w := &rawWaiter{echo: newEcho(netip.MustParseAddr("127.0.0.1")), answer: make(chan error, 1)}
	session, err := s.join(w)
	if err != nil {
		t.Skip(err)
	}
	session.conn.Close()
	select {
	case err := <-w.answer:
		if err == nil {
			t.Error("answer of a broken socket: got a reply; want an error")
		}
	case <-time.After(patience):
		t.Error("answer of a broken socket: got none; want an error")
	}
	if err := s.ping(t.Context(), newEcho(netip.MustParseAddr("127.0.0.1"))); err != nil {
		t.Errorf("ping after the socket broke: got %v; want none", err)
	}
	s.leave(session, w)
}
