package splicetest

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/limeload/limeload/splice"
	"golang.org/x/sys/unix"
)

// subprocessVariable in the environment is the test that a process is for.
const subprocessVariable = "SPLICETEST_SUBPROCESS"

// skipOutsideCI skips a test that this machine cannot run. The project's own checks
// must not miss it.
func skipOutsideCI(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// inSubprocess runs a test that changes its process, in a process of its own. It
// reports whether this is it.
func inSubprocess(t *testing.T, attr *syscall.SysProcAttr) bool {
	t.Helper()
	if os.Getenv(subprocessVariable) == t.Name() {
		return true
	}
	var pattern []string
	for part := range strings.SplitSeq(t.Name(), "/") {
		pattern = append(pattern, "^"+regexp.QuoteMeta(part)+"$")
	}
	cmd := exec.Command(os.Args[0], "-test.run="+strings.Join(pattern, "/"), "-test.v", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), subprocessVariable+"="+t.Name())
	cmd.SysProcAttr = attr
	out, err := cmd.CombinedOutput()
	switch {
	case cmd.Process == nil:
		skipOutsideCI(t, "no such process may be made here: "+err.Error())
	case err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()):
		t.Errorf("subprocess: %v\n%s", err, out)
	}
	return false
}

// acceptPause takes every descriptor of a process in which one session lives.
// Clients have their sockets before that.
func (s suite) acceptPause(t *testing.T) {
	if !inSubprocess(t, nil) {
		return
	}
	var pauses atomic.Int64
	r := s.rig(t, plan{options: splice.Options{Threads: 1, OnAcceptPause: func(error) { pauses.Add(1) }}})
	client, server, _ := r.connect()
	var sockets []int
	for range 20 {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		sockets = append(sockets, fd)
	}
	giveBack := takeDescriptors(t)
	addr := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: int(r.listener.Addr().Port())}
	for _, fd := range sockets {
		if err := unix.Connect(fd, addr); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "accepting pauses", func() bool { return pauses.Load() > 0 })

	const window = 500 * time.Millisecond
	before := processorTime(t)
	for until := time.Now().Add(window); time.Now().Before(until); time.Sleep(window / 10) {
		roundTrip(t, client, server)
	}
	if used := processorTime(t) - before; used > window/5 {
		t.Errorf("used %v of processor time in %v of a pause; want next to none", used, window)
	}
	if n := pauses.Load(); n != 1 {
		t.Errorf("OnAcceptPause was called %d times in one episode; want once", n)
	}

	giveBack()
	for range sockets {
		r.server()
	}
	var counted uint64
	for _, loop := range r.engine.Stats() {
		counted += loop.AcceptPauses
	}
	if n := pauses.Load(); uint64(n) != counted {
		t.Errorf("OnAcceptPause was called %d times and %d pauses were counted; want the same", n, counted)
	}
	for _, fd := range sockets {
		unix.Close(fd)
	}
}

// takeDescriptors leaves the process none to open.
func takeDescriptors(t *testing.T) (giveBack func()) {
	t.Helper()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	highest := 0
	for fd := range openDescriptors(t) {
		highest = max(highest, fd)
	}
	tight := unix.Rlimit{Cur: uint64(highest + 1), Max: old.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &tight); err != nil {
		t.Fatal(err)
	}
	var taken []int
	for {
		fd, err := unix.Dup(0)
		if err != nil {
			break
		}
		taken = append(taken, fd)
	}
	return func() {
		for _, fd := range taken {
			unix.Close(fd)
		}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
			t.Error(err)
		}
	}
}

// boundedProcessor has as many sessions as wait for each other for a long time. The
// peers are in this process too.
func (s suite) boundedProcessor(t *testing.T) {
	const sessions, window = 50, time.Second
	r := s.bounded(t, splice.Rates{Up: 100_000}, splice.Timeouts{Idle: patience})
	for range sessions {
		client, server, _ := r.connect()
		go sendPattern(client, 0, 1<<40, 64<<10) // until the rig ends
		go io.Copy(io.Discard, server)
	}
	eventually(t, "every buffer is full", func() bool {
		before := processorTime(t)
		time.Sleep(window / 10)
		return processorTime(t)-before < window/50
	})
	before := processorTime(t)
	time.Sleep(window)
	if used := processorTime(t) - before; used > window/10 {
		t.Errorf("used %v of processor time in %v; want next to none", used, window)
	}
}

// processorTime is what this process has used.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// dialSelf has a network of its own in which the only port that the system may
// choose is the one to connect to, where nobody listens. By the rule of
// simultaneous open (RFC 9293, 3.5) such a connect succeeds.
func (s suite) dialSelf(t *testing.T) {
	if !inSubprocess(t, &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}) {
		return
	}
	loopbackUp(t)
	self := netip.MustParseAddrPort("127.0.0.1:40000")
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("40000 40000"), 0); err != nil {
		t.Skip(err)
	}
	meetSelf(t, self)
	r := s.rig(t, plan{
		backend: listenUnix(t, socketPath(t)),
		bind:    splice.Bind{Unix: socketPath(t)},
		dial:    sequence(splice.Endpoint{Addr: self}),
	})
	client := r.client()
	wantEnd(t, client)
	session := r.session()
	session.wantEnd(t, splice.ReasonConnectFailed)
	// An engine that tries anew before it answers finds its one port taken.
	err := session.last(2)
	if err != splice.ErrSelfConnect && !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("second Dial got %v; want %v", err, splice.ErrSelfConnect)
	}
	if err == splice.ErrSelfConnect {
		wantUntaken(t, self)
	}
}

// wantUntaken checks that a server which knows nothing of SO_REUSEADDR can have addr, so
// that no connection of it lingers in TIME-WAIT.
func wantUntaken(t *testing.T, addr netip.AddrPort) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: addr.Addr().As4(), Port: int(addr.Port())}); err != nil {
		t.Errorf("bind %v got %v; want nil", addr, err)
	}
}

// meetSelf checks that a connect to addr meets itself, and leaves nothing of it.
func meetSelf(t *testing.T, addr netip.AddrPort) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: addr.Addr().As4(), Port: int(addr.Port())}); err != nil {
		t.Fatalf("connect %v, where nobody listens: %v", addr, err)
	}
}

// loopbackUp brings the device of a new network up.
func loopbackUp(t *testing.T) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	request.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
		t.Fatal(err)
	}
}
