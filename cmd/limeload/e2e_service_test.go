//go:build linux

package main_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/limeload/limeload/pkg/testserver"
)

// manager plays the service manager for one limeload: it starts it with what it may
// inherit, and hears what it says.
type manager struct {
	t        *testing.T
	dir      string              // of the configuration, and of what the process makes
	ear      *net.UnixConn       // NOTIFY_SOCKET
	watchdog time.Duration       // WATCHDOG_USEC
	sockets  []net.Listener      // to hand over, with the names in names
	names    string              // LISTEN_FDNAMES
	wrapper  []string            // a command that runs the program
	heard    chan string         // messages
	env      []string            // more of the environment
	user     *syscall.Credential // who starts it; nil is the test's own
	mode     os.FileMode         // of the configuration; 0 is readable by all
}

func newManager(t *testing.T) *manager {
	t.Helper()
	m := &manager{t: t, dir: t.TempDir(), heard: make(chan string, 1<<12)}
	var err error
	if m.ear, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(m.dir, "notify"), Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.ear.Close() })
	go m.listen()
	return m
}

func (m *manager) listen() {
	b := make([]byte, 4096)
	for {
		n, err := m.ear.Read(b)
		if err != nil {
			return
		}
		m.heard <- string(b[:n])
	}
}

// file is the configuration's.
func (m *manager) file() string { return filepath.Join(m.dir, "limeload.toml") }

func (m *manager) write(config string) {
	m.t.Helper()
	mode := m.mode
	if mode == 0 {
		mode = 0o644
	}
	if err := os.WriteFile(m.file(), []byte(config), mode); err != nil {
		m.t.Fatal(err)
	}
}

// start runs limeload with a configuration and does not wait.
func (m *manager) start(engine, config string, flags ...string) *limeload {
	m.t.Helper()
	m.write(fmt.Sprintf(prelude, engine, "default") + config)
	// Between the fork and the program there is a shell, which knows the number of the
	// process that the program will be.
	script := `if [ -n "$LISTEN_FDS" ]; then export LISTEN_PID=$$; fi; exec "$@"`
	args := append(slices.Clone(m.wrapper), "/bin/sh", "-c", script, "sh",
		m.program(), "serve", "-c", m.file())
	args = append(args, flags...)
	l := &limeload{t: m.t, log: newLogbook(), exited: make(chan struct{})}
	l.cmd = exec.Command(args[0], args[1:]...)
	l.cmd.Env = append(os.Environ(), "RUNTIME_DIRECTORY="+m.dir, "NOTIFY_SOCKET="+m.ear.LocalAddr().String(), "GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	if m.watchdog > 0 {
		l.cmd.Env = append(l.cmd.Env, fmt.Sprintf("WATCHDOG_USEC=%d", m.watchdog.Microseconds()))
	}
	m.handOver(l.cmd)
	l.cmd.Env = append(l.cmd.Env, m.env...)
	l.cmd.Stdout, l.cmd.Stderr = l.log, l.log
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Credential: m.user}
	if err := l.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	go l.wait()
	m.t.Cleanup(l.check)
	return l
}

// program is the path of the program, for another user a copy in reach.
func (m *manager) program() string {
	m.t.Helper()
	program, err := build()
	if err != nil {
		m.t.Fatal(err)
	}
	path := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), program.Fd())
	if m.user == nil {
		return path
	}
	b, err := os.ReadFile(path)
	if err == nil {
		path = filepath.Join(m.dir, "limeload")
		err = os.WriteFile(path, b, 0o755)
	}
	if err != nil {
		m.t.Fatal(err)
	}
	return path
}

// handOver makes the sockets the descriptors from 3 on.
func (m *manager) handOver(cmd *exec.Cmd) {
	m.t.Helper()
	for _, s := range m.sockets {
		f, err := s.(interface{ File() (*os.File, error) }).File()
		if err != nil {
			m.t.Fatal(err)
		}
		m.t.Cleanup(func() { f.Close() })
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	if len(m.sockets) > 0 {
		cmd.Env = append(cmd.Env, fmt.Sprintf("LISTEN_FDS=%d", len(m.sockets)), "LISTEN_FDNAMES="+m.names)
	}
}

// hears waits for a message that begins so, and answers it. Others are passed over.
func (m *manager) hears(prefix string) string {
	m.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case text := <-m.heard:
			if strings.HasPrefix(text, prefix) {
				return text
			}
		case <-deadline:
			m.t.Fatalf("the service manager heard no %q within %v", prefix, patience)
		}
	}
}

// onePool is a configuration with one listener in front of one backend.
func onePool(address, backend string) string {
	return fmt.Sprintf(`
[[listener]]
name   = "db"
listen = [%q]
pool   = "db"
[[pool]]
name    = "db"
backend = [{ address = %q }]
health  = { type = "none" }
`, address, backend)
}

// The whole life, as the manager hears it: ready when clients are accepted and not
// before, reloading and ready again, even when the file is broken, stopping for as long
// as the drain may take.
func TestServiceManagerHearsOfTheLife(t *testing.T) {
	onBothEngines(t, func(t *testing.T, engine string) {
		m := newManager(t)
		backend := startEcho(t, "b", "127.0.0.1:0")
		l := m.start(engine, onePool("127.0.0.1:0", backend.address)+"[shutdown]\ndrain_timeout = \"77s\"\n")
		if got, want := m.hears("STATUS="), "STATUS=0 sessions, 1 of 1 backends usable"; got != want {
			t.Errorf("status: got %q; want %q", got, want)
		}
		if got := m.hears("READY=1"); got != "READY=1" {
			t.Errorf("got %q; want READY=1 alone", got)
		}
		v := visit(t, l.address("db"))
		if got, want := m.hears("STATUS=1 "), "STATUS=1 sessions, 1 of 1 backends usable"; got != want {
			t.Errorf("status: got %q; want %q", got, want)
		}

		l.signal(syscall.SIGHUP)
		if got := m.hears("RELOADING=1"); !strings.Contains(got, "\nMONOTONIC_USEC=") {
			t.Errorf("got %q; want it with the time", got)
		}
		m.hears("READY=1")
		m.write("this is no configuration")
		l.signal(syscall.SIGHUP)
		m.hears("RELOADING=1")
		m.hears("READY=1")
		l.await(fields{"msg": "reload failed, nothing changed"})

		l.signal(syscall.SIGTERM)
		if got, want := m.hears("STOPPING=1"), "STOPPING=1\nEXTEND_TIMEOUT_USEC=87000000"; got != want {
			t.Errorf("got %q; want %q", got, want)
		}
		l.signal(syscall.SIGHUP) // too late
		l.await(fields{"msg": "not reloaded: stopping"})
		v.leave(t)
		if status := l.status(); status != 0 {
			t.Errorf("exit status: got %d; want 0", status)
		}
		for len(m.heard) > 0 {
			if text := <-m.heard; strings.HasPrefix(text, "RELOADING") || strings.HasPrefix(text, "READY") {
				t.Errorf("after it stops: got %q; want none of these", text)
			}
		}
	})
}

// The watchdog hears nothing any more while one loop of several hangs in the kernel,
// though all other threads are well; and it hears of life again afterwards.
func TestWatchdogHearsNothingOfALoopThatIsStuck(t *testing.T) {
	m := newManager(t)
	m.watchdog = 900 * time.Millisecond
	// The loop that takes the first client is held there (strace(1), "Tampering").
	m.wrapper = []string{tool(t, "strace"), "-f", "-qq", "-o", "/dev/null", "-e", "trace=accept4", "-e", "inject=accept4:delay_enter=4s:when=1"}
	backend := startEcho(t, "b", "127.0.0.1:0")
	l := m.start("splice", onePool("127.0.0.1:0", backend.address))
	m.hears("WATCHDOG=1")
	m.hears("WATCHDOG=1")
	c := dial(t, l.address("db"))

	first := l.await(fields{"msg": "a loop is stuck"})
	m.forget()
	second := l.awaitAfter(first, fields{"msg": "a loop is stuck"})
	l.awaitAfter(second, fields{"msg": "a loop is stuck"})
	if n := m.count("WATCHDOG=1"); n > 0 {
		t.Errorf("keep-alives while a loop is stuck: got %d; want none", n)
	}
	m.hears("WATCHDOG=1")
	if name := meet(c).name; name != "b" {
		t.Errorf("the client of the loop that was stuck: got backend %q; want b", name)
	}
	c.Close()
	m.end(l)
}

// forget drops what was heard so far.
func (m *manager) forget() { m.count("") }

// count drops what was heard so far, and answers how many messages began so.
func (m *manager) count(prefix string) (n int) {
	for {
		select {
		case text := <-m.heard:
			if strings.HasPrefix(text, prefix) {
				n++
			}
		default:
			return n
		}
	}
}

// end ends a limeload that runs under a wrapper, which would not pass the signal on.
func (m *manager) end(l *limeload) {
	m.t.Helper()
	syscall.Kill(int(l.await(fields{"msg": "limeload"}).number(m.t, "pid")), syscall.SIGTERM)
	if status := l.status(); status != 0 {
		m.t.Errorf("exit status: got %d; want 0", status)
	}
}

// tool is the path of a program that a test needs; without it the test is skipped, or
// fails where everything has to be there.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing: run packaging/deps.sh", name)
	}
	t.Skipf("%s is missing: packaging/deps.sh installs it", name)
	return ""
}

// Clients that come before the process runs are served when it does, on TCP and on a
// unix socket; a socket that belongs to no listener is told and closed; and while
// limeload restarts, clients wait instead of being refused.
func TestSocketActivation(t *testing.T) {
	onBothEngines(t, func(t *testing.T, engine string) {
		m := newManager(t)
		backend := startEcho(t, "b", "127.0.0.1:0")
		tcp, stray := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
		path := filepath.Join(m.dir, "db.sock")
		unix, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close()
		m.sockets, m.names = []net.Listener{tcp, stray, unix}, "db:stray:local"

		early := dial(t, tcp.Addr().String())
		send(t, early, "early")
		config := strings.Replace(onePool(tcp.Addr().String(), backend.address), `"]`, `", "unix:`+path+`"]`, 1)
		l := m.start(engine, config)
		m.hears("READY=1")
		expect(t, early, "b\nearly")
		l.await(fields{"msg": "listening", "address": tcp.Addr().String(), "socket": "db"})
		l.await(fields{"msg": "listening", "address": "unix:" + path, "socket": "local"})
		l.await(fields{"msg": "inherited socket closed: no listener has its address", "socket": "stray"})
		local, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer local.Close()
		send(t, local, "local")
		expect(t, local, "b\nlocal")
		local.Close()
		early.Close()

		l.signal(syscall.SIGTERM)
		if status := l.status(); status != 0 {
			t.Fatalf("exit status: got %d; want 0", status)
		}
		between := dial(t, tcp.Addr().String())
		send(t, between, "between")
		if _, err := os.Stat(path); err != nil {
			t.Errorf("the unix socket's file: got %v; want it left to its maker", err)
		}
		m.start(engine, config)
		expect(t, between, "b\nbetween")
		between.Close()
	})
}

// The same with systemd's own: it listens, and runs the program when a client comes.
func TestSocketActivationBySystemd(t *testing.T) {
	activate := tool(t, "systemd-socket-activate")
	m := newManager(t)
	backend := startEcho(t, "b", "127.0.0.1:0")
	address := fmt.Sprintf("127.0.0.1:%d", testserver.FreePort(t))
	m.write(fmt.Sprintf(prelude, "splice", "default") + onePool(address, backend.address))
	l := &limeload{t: t, log: newLogbook(), exited: make(chan struct{})}
	l.cmd = exec.Command(activate, "--listen="+address, "--fdname=db", "--setenv=RUNTIME_DIRECTORY="+m.dir,
		"--setenv=NOTIFY_SOCKET="+m.ear.LocalAddr().String(), m.program(), "serve", "-c", m.file())
	l.cmd.Stderr = l.log
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go l.wait()
	t.Cleanup(l.check)
	var early net.Conn
	eventually(t, "systemd-socket-activate listens", func() (listens bool) {
		var err error
		early, err = net.Dial("tcp", address)
		return err == nil
	})
	defer early.Close()
	early.SetDeadline(time.Now().Add(patience))
	send(t, early, "early")
	expect(t, early, "b\nearly")
	m.hears("READY=1")
	l.await(fields{"msg": "listening", "address": address, "socket": "db"})
	l.log.takeForeign() // what systemd-socket-activate says
}

// A listener that a reload renames, removes and adds again gets its socket back, though
// the manager holds it all the time.
func TestInheritedSocketOutlivesItsListener(t *testing.T) {
	m := newManager(t)
	backend := startEcho(t, "b", "127.0.0.1:0")
	tcp := listen(t, "127.0.0.1:0")
	m.sockets, m.names = []net.Listener{tcp}, "db"
	config := fmt.Sprintf(prelude, "splice", "default") + onePool(tcp.Addr().String(), backend.address)
	l := m.start("splice", onePool(tcp.Addr().String(), backend.address))
	m.hears("READY=1")
	for i, text := range []string{
		strings.Replace(config, `"db"`, `"renamed"`, 1),
		strings.Replace(config, tcp.Addr().String(), "127.0.0.1:0", 1),
		config,
	} {
		m.write(text)
		l.signal(syscall.SIGHUP)
		m.hears("RELOADING=1")
		m.hears("READY=1")
		if i != 1 {
			visit(t, tcp.Addr().String()).leave(t)
		}
	}
	if failed, _, _ := l.log.find(0, fields{"msg": "reload failed, nothing changed"}); len(failed) > 0 {
		t.Errorf("got %v; want no failed reload", failed)
	}
}
