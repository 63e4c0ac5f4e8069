//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// patience is how long a test waits for what should happen soon.
const patience = 30 * time.Second

// TestMain makes the test binary stand in for the program: a copy of it is first
// in PATH as "limeload" and runs main. So tests run what they were compiled with,
// under the race detector too.
func TestMain(m *testing.M) {
	if os.Getenv("GORACE") == "" {
		os.Setenv("GORACE", "atexit_sleep_ms=0") // by default every process lingers for a second
	}
	testscript.Main(leakFree{m}, map[string]func(){"limeload": main})
}

// leakFree fails a run that leaves goroutines behind.
type leakFree struct{ *testing.M }

func (l leakFree) Run() int {
	status := l.M.Run()
	if status == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			status = 1
		}
	}
	return status
}

// TestScripts runs testdata/script/*.txtar: the program as its users meet it. To
// the commands of testscript it adds
//
//	run STATUS PROGRAM...     run to the end; STATUS is what it must exit with
//	until REGEXP PROGRAM...   run to the end, again and again until its standard output matches
//	start NAME PROGRAM...     run in the background, with output in NAME.out and NAME.log
//	signal NAME SIGNAL        TERM, INT, HUP, KILL
//	ended NAME STATUS         wait until it has ended, by exit STATUS or "killed"; then
//	                          stdout and stderr are its
//	await FILE REGEXP         wait until a line matches
//	logged FILE FIELD...      wait until a line, of JSON as all must be, has all FIELDs
//	says stdout|stderr REGEXP...
//	                          the last output has these lines and no other
//	json FILE PATH=REGEXP...  values in a JSON document, such as 0.phases.1.name=echo
//	expand FILE               replace the variables in it
//	backend NAME [ADDR]       set $NAME to the address of an echo server, $NAME_PORT to its port
//	refusing NAME             set $NAME to an address where nobody listens
//	[!] talk ADDR             exchange a line with an echo server through ADDR
//	served ADDR               wait until that works
//	refused ADDR              wait until connections to ADDR are refused
//	connect NAME ADDR         connect, say nothing, and keep the connection
//	hold NAME ADDR            exchange a line, and keep the connection
//	waits NAME ADDR           the same, but nobody answers yet
//	[!] release NAME          exchange another line over a connection that was kept, and close it
//
// A FIELD is KEY=REGEXP, or KEY->NAME to set $NAME to the value. Regexps match the
// whole of a line or value. Before a PROGRAM may stand KEY=VALUE, and
//
//	isolated                  in a network namespace where even lo is down
//	unprivileged              the same, as a user who may do nothing
//
// for which there is the condition [isolation]; [icmp] is that this process may ping.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		Setup:               setupScript,
		Condition:           scriptCondition,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"run":      command(2, cmdRun),
			"until":    command(2, cmdUntil),
			"start":    command(2, cmdStart),
			"signal":   command(2, cmdSignal),
			"ended":    command(2, cmdEnded),
			"await":    command(2, cmdAwait),
			"logged":   command(2, cmdLogged),
			"says":     command(1, cmdSays),
			"json":     command(2, cmdJSON),
			"expand":   command(1, cmdExpand),
			"backend":  command(1, cmdBackend),
			"refusing": command(1, cmdRefusing),
			"talk":     cmdTalk,
			"served":   command(1, cmdServed),
			"refused":  command(1, cmdRefused),
			"connect":  command(2, cmdConnect),
			"hold":     command(2, cmdHold),
			"waits":    command(2, cmdWaits),
			"release":  cmdRelease,
		},
	})
}

// script is what the commands of one script share.
type script struct {
	env       []string // as at the start: lines "env" do not reach run and start
	processes map[string]*child
	held      map[string]net.Conn
}

type scriptKey struct{}

func setupScript(e *testscript.Env) error {
	s := &script{env: e.Vars, processes: map[string]*child{}, held: map[string]net.Conn{}}
	e.Values[scriptKey{}] = s
	e.Defer(func() {
		for _, c := range s.held {
			c.Close()
		}
		for _, p := range s.processes {
			p.kill()
		}
	})
	return nil
}

func of(ts *testscript.TestScript) *script { return ts.Value(scriptKey{}).(*script) }

// command is a script command that takes at least least arguments and no "!".
func command(least int, f func(*testscript.TestScript, []string)) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		switch {
		case neg:
			ts.Fatalf("! is not for this command")
		case len(args) < least:
			ts.Fatalf("got %d arguments; want %d or more", len(args), least)
		}
		f(ts, args)
	}
}

func scriptCondition(name string) (bool, error) {
	switch name {
	case "isolation":
		return isolated(exec.Command("limeload", "--version"), true).Run() == nil, nil
	case "icmp":
		for _, kind := range []int{unix.SOCK_DGRAM, unix.SOCK_RAW} {
			if fd, err := unix.Socket(unix.AF_INET, kind, unix.IPPROTO_ICMP); err == nil {
				return true, unix.Close(fd)
			}
		}
		return false, nil
	}
	return false, fmt.Errorf("unknown condition %q", name)
}

func cmdRun(ts *testscript.TestScript, args []string) {
	p, err := start(program(ts, args[1:]), filepath.Join(ts.Getenv("WORK"), ".run"))
	ts.Check(err)
	expectStatus(ts, p, args[0])
}

func cmdUntil(ts *testscript.TestScript, args []string) {
	re, err := regexp.Compile(args[0])
	ts.Check(err)
	eventually(ts, strings.Join(args[1:], " ")+" shows "+args[0], func() bool {
		p, err := start(program(ts, args[1:]), filepath.Join(ts.Getenv("WORK"), ".until"))
		ts.Check(err)
		_, err = p.wait()
		ts.Check(err)
		return re.MatchString(ts.ReadFile(p.out))
	})
}

func cmdStart(ts *testscript.TestScript, args []string) {
	s, name := of(ts), args[0]
	if s.processes[name] != nil {
		ts.Fatalf("%s was started before", name)
	}
	p, err := start(program(ts, args[1:]), ts.MkAbs(name))
	ts.Check(err)
	s.processes[name] = p
}

func cmdSignal(ts *testscript.TestScript, args []string) {
	signals := map[string]syscall.Signal{"TERM": unix.SIGTERM, "INT": unix.SIGINT, "HUP": unix.SIGHUP, "KILL": unix.SIGKILL}
	sig, ok := signals[args[1]]
	if !ok {
		ts.Fatalf("unknown signal %s", args[1])
	}
	ts.Check(started(ts, args[0]).cmd.Process.Signal(sig))
}

func cmdEnded(ts *testscript.TestScript, args []string) {
	expectStatus(ts, started(ts, args[0]), args[1])
}

func started(ts *testscript.TestScript, name string) *child {
	p := of(ts).processes[name]
	if p == nil {
		ts.Fatalf("%s was not started", name)
	}
	return p
}

// expectStatus waits for the end of p and makes its output that of the script's
// last command.
func expectStatus(ts *testscript.TestScript, p *child, want string) {
	got, err := p.wait()
	io.WriteString(ts.Stdout(), ts.ReadFile(p.out))
	io.WriteString(ts.Stderr(), ts.ReadFile(p.log))
	ts.Check(err)
	if got != want {
		ts.Fatalf("exit status: got %s; want %s", got, want)
	}
}

// program is what a script wants to run, with the words before it applied.
func program(ts *testscript.TestScript, args []string) *exec.Cmd {
	env, alone, powerless := slices.Clone(of(ts).env), false, false
	// The default socket of the admin API is one for each process.
	if run, err := os.MkdirTemp(ts.MkAbs("."), "run"); err == nil {
		env = append(env, "RUNTIME_DIRECTORY="+run)
	}
	for ; len(args) > 0; args = args[1:] {
		switch {
		case strings.Contains(args[0], "="):
			env = append(env, args[0])
			continue
		case args[0] == "isolated":
			alone = true
			continue
		case args[0] == "unprivileged":
			alone, powerless = true, true
			continue
		}
		break
	}
	if len(args) == 0 {
		ts.Fatalf("which program?")
	}
	c := exec.Command(args[0], args[1:]...)
	c.Env, c.Dir = env, ts.MkAbs(".")
	if alone {
		isolated(c, powerless)
	}
	return c
}

// nobody is the user and group who owns nothing.
const nobody = 65534

// isolated has c run in a network namespace of its own. There lo is down and every
// setting of the network is the kernel's default: ports below 1024 and ICMP are
// for those with capabilities, which a powerless program does not have.
func isolated(c *exec.Cmd, powerless bool) *exec.Cmd {
	a := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	uid, gid := os.Getuid(), os.Getgid()
	switch {
	case uid != 0: // needs a namespace of users, which gives nothing to programs of other users than 0
		a.Cloneflags |= unix.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}}
	case powerless:
		a.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		// The program's directory and the script's are root's alone. The kernel follows
		// this link without them.
		if c.Dir = "/"; filepath.Base(c.Path) == "limeload" {
			c.Path = "/proc/self/exe"
		}
	}
	c.SysProcAttr = a
	return c
}

func cmdAwait(ts *testscript.TestScript, args []string) {
	re, err := regexp.Compile(args[1])
	ts.Check(err)
	eventually(ts, "a line of "+args[0]+" that matches "+args[1], func() bool {
		return re.MatchString(ts.ReadFile(args[0]))
	})
}

func cmdLogged(ts *testscript.TestScript, args []string) {
	fields := args[1:]
	eventually(ts, fmt.Sprintf("a line of %s with %q", args[0], fields), func() bool {
		for line := range strings.Lines(ts.ReadFile(args[0])) {
			if !strings.HasSuffix(line, "\n") {
				return false // being written
			}
			var doc map[string]any
			if err := json.Unmarshal([]byte(line), &doc); err != nil {
				ts.Fatalf("%s: %v in %q", args[0], err, line)
			}
			if matches(ts, doc, fields) {
				return true
			}
		}
		return false
	})
}

// matches reports whether doc has all fields, and then sets the variables that they
// name.
func matches(ts *testscript.TestScript, doc any, fields []string) bool {
	found := map[string]string{}
	for _, f := range fields {
		if key, name, ok := strings.Cut(f, "->"); ok {
			v, ok := value(doc, key)
			if !ok {
				return false
			}
			found[name] = v
			continue
		}
		key, re, _ := strings.Cut(f, "=")
		if v, ok := value(doc, key); !ok || !whole(ts, re).MatchString(v) {
			return false
		}
	}
	for name, v := range found {
		ts.Setenv(name, v)
	}
	return true
}

// value is the one at a path of keys and indices, as text: of an object its sorted
// keys, of an array its length.
func value(doc any, path string) (string, bool) {
	for key := range strings.SplitSeq(path, ".") {
		switch d := doc.(type) {
		case map[string]any:
			v, ok := d[key]
			if !ok {
				return "", false
			}
			doc = v
		case []any:
			i, err := strconv.Atoi(key)
			if key == "" {
				continue // the document itself
			}
			if err != nil || i >= len(d) {
				return "", false
			}
			doc = d[i]
		default:
			return "", false
		}
	}
	switch d := doc.(type) {
	case map[string]any:
		keys := make([]string, 0, len(d))
		for k := range d {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		return strings.Join(keys, " "), true
	case []any:
		return strconv.Itoa(len(d)), true
	}
	return fmt.Sprint(doc), true
}

func cmdSays(ts *testscript.TestScript, args []string) {
	got := strings.Split(strings.TrimSuffix(ts.ReadFile(args[0]), "\n"), "\n")
	if len(got) == 1 && got[0] == "" {
		got = nil
	}
	want := args[1:]
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(want):
			ts.Fatalf("%s line %d: got %q; want no more", args[0], i+1, got[i])
		case i >= len(got):
			ts.Fatalf("%s line %d: got no more; want %q", args[0], i+1, want[i])
		case !whole(ts, want[i]).MatchString(got[i]):
			ts.Fatalf("%s line %d: got %q; want %q", args[0], i+1, got[i], want[i])
		}
	}
}

func cmdJSON(ts *testscript.TestScript, args []string) {
	var doc any
	d := json.NewDecoder(strings.NewReader(ts.ReadFile(args[0])))
	d.UseNumber() // as they are written
	ts.Check(d.Decode(&doc))
	for _, f := range args[1:] {
		if !matches(ts, doc, []string{f}) {
			got, _ := value(doc, f[:strings.IndexAny(f, "=-")])
			ts.Fatalf("%s: got %q; want %q", args[0], got, f)
		}
	}
}

func whole(ts *testscript.TestScript, re string) *regexp.Regexp {
	r, err := regexp.Compile(`^(?:` + re + `)$`)
	ts.Check(err)
	return r
}

func cmdExpand(ts *testscript.TestScript, args []string) {
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(os.Expand(ts.ReadFile(args[0]), ts.Getenv)), 0o666))
}

func cmdBackend(ts *testscript.TestScript, args []string) {
	network, addr := "tcp", "127.0.0.1:0"
	if len(args) > 1 {
		network, addr = split(args[1])
	}
	l, err := net.Listen(network, addr)
	ts.Check(err)
	e := serveEcho(l, "")
	ts.Defer(e.close)
	ts.Setenv(args[0], l.Addr().String())
	if _, port, err := net.SplitHostPort(l.Addr().String()); err == nil {
		ts.Setenv(args[0]+"_PORT", port)
	}
}

// cmdRefusing binds a port without listening: nobody else can get it.
func cmdRefusing(ts *testscript.TestScript, args []string) {
	addr, release, err := refusing()
	ts.Check(err)
	ts.Defer(release)
	ts.Setenv(args[0], addr)
}

func cmdTalk(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: [!] talk ADDR")
	}
	if err := talk(args[0]); neg != (err != nil) {
		ts.Fatalf("talk to %s: got %v", args[0], err)
	}
}

func cmdServed(ts *testscript.TestScript, args []string) {
	eventually(ts, args[0]+" serves", func() bool { return talk(args[0]) == nil })
}

func cmdRefused(ts *testscript.TestScript, args []string) {
	eventually(ts, args[0]+" refuses", func() bool {
		c, err := dial(args[0])
		if err == nil {
			c.Close()
		}
		return errors.Is(err, unix.ECONNREFUSED)
	})
}

func cmdConnect(ts *testscript.TestScript, args []string) { hold(ts, args[0], args[1]) }

func cmdHold(ts *testscript.TestScript, args []string) {
	ts.Check(exchange(hold(ts, args[0], args[1]), "hold"))
}

// cmdWaits cannot know that no answer will come, but that a client is served at
// once where it should wait shows sooner or later.
func cmdWaits(ts *testscript.TestScript, args []string) {
	c := hold(ts, args[0], args[1])
	c.SetDeadline(time.Now().Add(50 * time.Millisecond))
	if err := exchange(c, "waits"); !errors.Is(err, os.ErrDeadlineExceeded) {
		ts.Fatalf("%s: got %v; want no answer", args[0], err)
	}
	c.SetDeadline(time.Now().Add(patience))
	of(ts).held[args[0]] = &unanswered{c, "waits\n"}
}

// unanswered is a connection over which these bytes are still to come back.
type unanswered struct {
	net.Conn
	pending string
}

func (u *unanswered) Read(b []byte) (int, error) {
	if u.pending != "" {
		got := make([]byte, len(u.pending))
		if _, err := io.ReadFull(u.Conn, got); err != nil || string(got) != u.pending {
			return 0, fmt.Errorf("got %q, %v; want %q", got, err, u.pending)
		}
		u.pending = ""
	}
	return u.Conn.Read(b)
}

// hold connects to addr; the connection is kept under name.
func hold(ts *testscript.TestScript, name, addr string) net.Conn {
	if of(ts).held[name] != nil {
		ts.Fatalf("%s is held already", name)
	}
	c, err := dial(addr)
	ts.Check(err)
	of(ts).held[name] = c
	return c
}

func cmdRelease(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 || of(ts).held[args[0]] == nil {
		ts.Fatalf("usage: [!] release NAME of a connection that is held")
	}
	c := of(ts).held[args[0]]
	delete(of(ts).held, args[0])
	defer c.Close()
	if err := exchange(c, "release"); neg != (err != nil) {
		ts.Fatalf("release %s: got %v", args[0], err)
	}
}

// eventually fails the script if ok does not become true.
func eventually(ts *testscript.TestScript, what string, ok func() bool) {
	if !until(ok) {
		ts.Fatalf("%s: not within %s", what, patience)
	}
}

// until waits for ok to become true, and reports whether it did.
func until(ok func() bool) bool {
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// child is a program that runs in the background.
type child struct {
	cmd      *exec.Cmd
	out, log string        // files with its standard output and standard error
	done     chan struct{} // closed when it has ended
}

// start runs c with its output in name.out and name.log.
func start(c *exec.Cmd, name string) (*child, error) {
	p := &child{cmd: c, out: name + ".out", log: name + ".log", done: make(chan struct{})}
	for _, f := range []struct {
		path string
		to   *io.Writer
	}{{p.out, &c.Stdout}, {p.log, &c.Stderr}} {
		w, err := os.Create(f.path)
		if err != nil {
			return nil, err
		}
		defer w.Close()
		*f.to = w
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.done)
		c.Wait()
	}()
	return p, nil
}

// wait answers the exit status, or "killed". It ends a process that does not end
// by itself.
func (p *child) wait() (status string, err error) {
	select {
	case <-p.done:
	case <-time.After(patience):
		p.cmd.Process.Signal(unix.SIGABRT) // its goroutines are then in the log
		<-p.done
		return "", fmt.Errorf("still runs after %s", patience)
	}
	switch w := p.cmd.ProcessState.Sys().(syscall.WaitStatus); {
	case w.Exited():
		return strconv.Itoa(w.ExitStatus()), nil
	case w.Signal() == unix.SIGKILL:
		return "killed", nil
	}
	return p.cmd.ProcessState.String(), nil
}

func (p *child) kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// split reads an address as limeload writes it.
func split(addr string) (network, address string) {
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		return "unix", path
	}
	return "tcp", addr
}

func dial(addr string) (net.Conn, error) {
	network, address := split(addr)
	c, err := net.DialTimeout(network, address, patience)
	if err == nil {
		c.SetDeadline(time.Now().Add(patience))
	}
	return c, err
}

// talk exchanges a line with whoever answers at addr.
func talk(addr string) error {
	c, err := dial(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	return exchange(c, "hello")
}

// exchange sends a line and wants it back.
func exchange(c io.ReadWriter, line string) error {
	line += "\n"
	if _, err := io.WriteString(c, line); err != nil {
		return err
	}
	got := make([]byte, len(line))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if !bytes.Equal(got, []byte(line)) {
		return fmt.Errorf("got %q; want %q", got, line)
	}
	return nil
}

// echoServer sends back what it gets.
type echoServer struct {
	listener net.Listener
	greeting string // sent first
	tasks    sync.WaitGroup

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]struct{}
}

func serveEcho(l net.Listener, greeting string) *echoServer {
	s := &echoServer{listener: l, greeting: greeting, conns: map[net.Conn]struct{}{}}
	s.tasks.Go(s.accept)
	return s
}

func (s *echoServer) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.closed {
			c.Close()
		} else {
			s.conns[c] = struct{}{}
			s.tasks.Go(func() { s.serve(c) })
		}
		s.mu.Unlock()
	}
}

func (s *echoServer) serve(c net.Conn) {
	defer func() {
		c.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, c)
	}()
	if _, err := io.WriteString(c, s.greeting); err == nil {
		io.Copy(c, c)
	}
}

// close cuts every connection.
func (s *echoServer) close() {
	s.listener.Close()
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.tasks.Wait()
}

// refusing answers an address where nobody listens, and none will before release:
// a socket is bound to it.
func refusing() (addr string, release func(), err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", nil, os.NewSyscallError("socket", err)
	}
	if err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err == nil {
		var at unix.Sockaddr
		if at, err = unix.Getsockname(fd); err == nil {
			return fmt.Sprintf("127.0.0.1:%d", at.(*unix.SockaddrInet4).Port), func() { unix.Close(fd) }, nil
		}
	}
	unix.Close(fd)
	return "", nil, os.NewSyscallError("bind", err)
}
