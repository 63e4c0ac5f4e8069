package healthcheck

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestTCPIsNotNoticedByTheServer(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		t.Run(host, func(t *testing.T) {
			l := listen(t, "tcp", net.JoinHostPort(host, "0"))
			slow := probeManyTimes(t, tcpAddress(l), 400)
			marker, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer marker.Close()
			if noticed := acceptUntil(t, l, marker.LocalAddr()); noticed > slow {
				t.Errorf("accepted connections of probes: got %d; want at most %d", noticed, slow)
			}
		})
	}
}

// probeManyTimes probes a, which is up, n times, and tells how many probes the
// machine has held up for so long that the kernel did not wait for them.
func probeManyTimes(t *testing.T, a Address, n int) (slow int) {
	t.Helper()
	for range n {
		r := probe(t, NewTCP(), a, patience)
		expect(t, r, Up, "")
		if r.Took > 150*time.Millisecond { // the kernel counts 200 ms in jiffies
			slow++
		}
	}
	return slow
}

// acceptUntil accepts until the connection from remote, and tells how many
// came before it.
func acceptUntil(t *testing.T, l net.Listener, remote net.Addr) (before int) {
	t.Helper()
	for {
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		if c.RemoteAddr().String() == remote.String() {
			return before
		}
		before++
	}
}

// A process that got no CPU until the deadline has passed finds the peer's answer all the
// same: on lo it is there when connect(2) returns.
func TestTCPAnswerIsThereAtTheDeadline(t *testing.T) {
	late, cancel := context.WithDeadline(t.Context(), time.Unix(1, 0))
	defer cancel()
	for _, test := range []struct {
		name string
		to   Address
		want error
	}{
		{"up", tcpAddress(listen(t, "tcp", "127.0.0.1:0")), nil},
		{"refused", closedPort(t, "127.0.0.1"), unix.ECONNREFUSED},
	} {
		remote, family, err := sockaddr(test.to.AddrPort)
		if err != nil {
			t.Fatal(err)
		}
		fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		err = startConnect(fd, remote)
		f := os.NewFile(uintptr(fd), "tcp")
		f.SetDeadline(time.Unix(1, 0)) // as when the interruption is quicker than the first look
		if err == unix.EINPROGRESS {
			err = awaitConnect(late, f)
		}
		f.Close()
		if err != test.want {
			t.Errorf("%s: got %v; want %v", test.name, err, test.want)
		}
	}
}

func TestTCPHandshakeOnTheWireIsSynSynackRst(t *testing.T) {
	if !insideNamespace(t) {
		return
	}
	l := listen(t, "tcp", "127.0.0.1:0")
	wire := openWire(t)
	expect(t, probe(t, NewTCP(), tcpAddress(l), patience), Up, "")
	var got []string
	for !slices.Contains(got, "RST") {
		got = append(got, wire.next(t))
	}
	if want := []string{"SYN", "SYN/ACK", "RST"}; !slices.Equal(got, want) {
		t.Errorf("segments: got %v; want %v", got, want)
	}
}

// wire captures the IPv4 packets of lo.
type wire int

func openWire(t *testing.T) wire {
	const everyIPv4 = unix.ETH_P_IP<<8&0xff00 | unix.ETH_P_IP>>8 // in network order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, everyIPv4)
	if err != nil {
		t.Skipf("packet socket: %v", err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	wait := unix.NsecToTimeval(int64(patience))
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait)
	return wire(fd)
}

// next names the flags of the next TCP segment that arrives.
func (w wire) next(t *testing.T) string {
	t.Helper()
	var b [1500]byte
	for {
		n, from, err := unix.Recvfrom(int(w), b[:], 0)
		if err != nil {
			t.Fatalf("capture: %v", err)
		}
		if l := from.(*unix.SockaddrLinklayer); l.Pkttype == unix.PACKET_OUTGOING {
			continue // lo shows each packet on its way out and in
		}
		_, segment, ok := cutIPv4(b[:n], unix.IPPROTO_TCP)
		if ok {
			return tcpFlags(segment)
		}
	}
}

func cutIPv4(b []byte, protocol byte) (header, rest []byte, ok bool) {
	if len(b) < 20 || b[9] != protocol {
		return nil, nil, false
	}
	n := int(b[0]&0x0f) * 4
	return b[:n], b[n:], true
}

func tcpFlags(segment []byte) string {
	const fin, syn, rst, ack = 1, 2, 4, 16
	switch flags := binary.BigEndian.Uint16(segment[12:]) & 0x17; {
	case flags&rst != 0:
		return "RST"
	case flags == syn|ack:
		return "SYN/ACK"
	case flags == syn:
		return "SYN"
	case flags&fin != 0:
		return "FIN"
	}
	return "ACK"
}

func TestTCPListenerWithFullBacklogTimesOut(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	local, _ := unix.Getsockname(fd)
	to, _ := addrPort(local)
	c, err := net.Dial("tcp", to.String()) // a backlog of 0 holds one: the kernel drops the next SYN
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	expect(t, probe(t, NewTCP(), Address{AddrPort: to}, 50*time.Millisecond), Down, ReasonTimeout)
}

func TestUnixSocketWithFullBacklogIsRefused(t *testing.T) {
	path := t.TempDir() + "/s"
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	for {
		c, err := net.Dial("unix", path)
		if err != nil {
			break
		}
		defer c.Close()
	}
	expect(t, probe(t, NewTCP(), Address{Path: path}, patience), Down, ReasonRefused)
}

func TestTCPSelfConnectIsRefused(t *testing.T) {
	if !insideNamespace(t) {
		return
	}
	// With a single ephemeral port, the kernel has to pick the one probed.
	setSysctl(t, "net/ipv4/ip_local_port_range", "40000 40000")
	for _, to := range []string{"127.0.0.1:40000", "[::1]:40000"} {
		r := probe(t, NewTCP(), Address{AddrPort: netip.MustParseAddrPort(to)}, patience)
		expect(t, r, Down, ReasonRefused)
		if !isAny(r.Err, errSelfConnect) {
			t.Errorf("error: got %v; want %v", r.Err, errSelfConnect)
		}
	}
}

func TestTCPWithoutFreePortIsUnknown(t *testing.T) {
	if !insideNamespace(t) {
		return
	}
	l := listen(t, "tcp", "127.0.0.1:40001")
	setSysctl(t, "net/ipv4/ip_local_port_range", "40000 40000")
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	expect(t, probe(t, NewTCP(), tcpAddress(l), patience), Unknown, ReasonLocal)
}

func TestProbesWithoutFreeDescriptorAreUnknown(t *testing.T) {
	if !insideNamespace(t) { // a process of its own, that is
		return
	}
	a := tcpAddress(listen(t, "tcp", "127.0.0.1:0"))
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	probers := map[string]Prober{"tcp": NewTCP(), "icmp": NewICMP()}
	lowered := limit
	lowered.Cur = 3
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lowered); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	for name, p := range probers {
		if r := probe(t, p, a, patience); r.Verdict != Unknown || r.Reason != ReasonLocal || !isAny(r.Err, unix.EMFILE) {
			t.Errorf("%s: got %v, %q (%v); want unknown, local, EMFILE", name, r.Verdict, r.Reason, r.Err)
		}
	}
}

func TestRouterDecidesTCP(t *testing.T) {
	if insideNamespace(t) {
		testRouterDecides(t, NewTCP())
	}
}

func TestRouterDecidesRawPing(t *testing.T) {
	if insideNamespace(t) {
		testRouterDecides(t, NewICMP())
	}
}

func TestRouterDecidesUnprivilegedPing(t *testing.T) {
	if insideNamespace(t) {
		permitPingSockets(t)
		testRouterDecides(t, NewICMP())
	}
}

// testRouterDecides wants a namespace of its own for each prober: a Linux
// router sends no more than about five such errors in a row to one host (the
// global sysctl net.ipv4.route.error_burst).
func testRouterDecides(t *testing.T, p Prober) {
	addRouter(t)
	tests := []struct {
		ip     string
		within time.Duration
		reason Reason
	}{
		{unreachable4, patience, ReasonUnreachable},
		{unreachable6, patience, ReasonUnreachable},
		{prohibited4, patience, ReasonUnreachable},
		{prohibited6, patience, ReasonUnreachable},
		{blackhole4, 50 * time.Millisecond, ReasonTimeout},
		{blackhole6, 50 * time.Millisecond, ReasonTimeout},
	}
	for _, tt := range tests {
		a := Address{AddrPort: netip.AddrPortFrom(netip.MustParseAddr(tt.ip), 5432)}
		expect(t, probe(t, p, a, tt.within), Down, tt.reason)
	}
	run(t, "ip", "route", "del", "default")
	expect(t, probe(t, p, Address{AddrPort: netip.MustParseAddrPort("192.0.2.1:1")}, patience), Down, ReasonUnreachable)
}
