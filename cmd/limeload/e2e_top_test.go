//go:build linux

package main_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unicode/utf8"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// terminal is a terminal of 24 lines in which a program runs.
type terminal struct {
	t    *testing.T
	cmd  *exec.Cmd
	end  *os.File // of who sits before it
	own  *os.File // of the program; open here so that it outlives the program
	done chan struct{}

	before unix.Termios // as it was when the program began

	mu     sync.Mutex
	output bytes.Buffer
}

// openTop runs limeload top in a terminal.
func openTop(t *testing.T, socket string, env ...string) *terminal {
	t.Helper()
	return openTerminal(t, 80, []string{"top", "--interval", "100ms", "--admin", "unix:" + socket}, env...)
}

// openTerminal runs limeload with arguments in a terminal of so many columns.
func openTerminal(t *testing.T, columns uint16, args []string, env ...string) *terminal {
	t.Helper()
	program, err := build()
	if err != nil {
		t.Fatal(err)
	}
	end, own, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := pty.Setsize(end, &pty.Winsize{Rows: 24, Cols: columns}); err != nil {
		t.Fatal(err)
	}
	x := &terminal{t: t, end: end, own: own, done: make(chan struct{})}
	x.cmd = exec.Command(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), program.Fd()), args...)
	x.cmd.Env = append(append(os.Environ(), "TERM=xterm-256color", "GORACE=atexit_sleep_ms=0"), env...)
	x.cmd.Stdin, x.cmd.Stdout, x.cmd.Stderr = own, own, own
	x.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	x.before = x.modes()
	if err := x.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go x.read()
	t.Cleanup(func() {
		x.cmd.Process.Kill()
		x.cmd.Wait()
		own.Close()
		end.Close()
		<-x.done
	})
	return x
}

// read takes what the program writes until the terminal is closed.
func (x *terminal) read() {
	defer close(x.done)
	buf := make([]byte, 4096)
	for {
		n, err := x.end.Read(buf)
		x.mu.Lock()
		x.output.Write(buf[:n])
		x.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (x *terminal) written() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.output.String()
}

func (x *terminal) await(text string) {
	x.t.Helper()
	eventually(x.t, fmt.Sprintf("%q on the terminal", text), func() bool { return strings.Contains(x.written(), text) })
}

func (x *terminal) press(keys string) {
	x.t.Helper()
	if _, err := x.end.WriteString(keys); err != nil {
		x.t.Fatal(err)
	}
}

// modes are those of the terminal that a program may change.
func (x *terminal) modes() unix.Termios {
	x.t.Helper()
	m, err := unix.IoctlGetTermios(int(x.own.Fd()), unix.TCGETS)
	if err != nil {
		x.t.Fatal(err)
	}
	return *m
}

const operated = `
	listener = [{ name = "front", listen = ["127.0.0.1:0"], pool = "pool" }]

	[[pool]]
	name = "pool"
	health = { type = "none" }
	backend = [{ name = "a", address = %q }, { name = "b", address = %q }]
`

// A person watches, drains a backend and cuts its sessions with keys, and has the terminal as
// it was when that is over, however it ends.
func TestOperatorWatches(t *testing.T) {
	t.Parallel()
	a, b := startEcho(t, "a", "127.0.0.1:0"), startEcho(t, "b", "127.0.0.1:0")
	l, o := serveOperated(t, "splice", fmt.Sprintf(operated, a.address, b.address))
	visit(t, l.address("front")).chat(t)

	for _, end := range []struct {
		name string
		by   func(*terminal)
	}{
		{"q", func(x *terminal) { x.press("q") }},
		{"ctrl+c", func(x *terminal) { x.press("\x03") }},
		{"SIGTERM", func(x *terminal) { x.cmd.Process.Signal(syscall.SIGTERM) }},
	} {
		t.Run("ends by "+end.name, func(t *testing.T) {
			o.do("PATCH", "/pools/pool/backends/a", `{"mode":"ready"}`)
			x := openTop(t, o.socket)
			x.await("BACKENDS 2")
			x.await("\x1b[?1049h") // the alternate screen
			if x.modes() == x.before {
				t.Error("the terminal is as before while it is watched; want it raw")
			}
			x.press("d")
			x.press("n") // not yet
			x.press("d")
			x.press("y")
			eventually(t, "a is drained", func() bool { return o.get("/pools/pool/backends/a")["mode"] == "drain" })
			end.by(x)
			if err := x.cmd.Wait(); err != nil {
				t.Errorf("got %v; want status 0", err)
			}
			x.await("\x1b[?1049l")
			if after := x.modes(); after != x.before {
				t.Errorf("terminal: got %+v; want it as before, %+v", after, x.before)
			}
		})
	}

	t.Run("kill", func(t *testing.T) {
		x := openTop(t, o.socket)
		x.await("SESSIONS 1")
		x.press("\tk")
		x.press("y")
		l.await(fields{"msg": "session", "reason": "killed"})
	})
}

// With NO_COLOR nothing is coloured; words say the same.
func TestOperatorWatchesWithoutColours(t *testing.T) {
	t.Parallel()
	a := startEcho(t, "a", "127.0.0.1:0")
	_, o := serveOperated(t, "splice", fmt.Sprintf(operated, a.address, a.address))
	colour := regexp.MustCompile(`\x1b\[[0-9;]*(3[0-8]|9[0-7])[;0-9]*m`)
	for _, env := range []string{"NO_COLOR=", "NO_COLOR=1"} {
		x := openTop(t, o.socket, env)
		x.await("BACKENDS 2")
		x.await("pool/a")
		if got, want := colour.MatchString(x.written()), env == "NO_COLOR="; got != want {
			t.Errorf("%q: got colours %v; want %v", env, got, want)
		}
	}
}

// On a narrow terminal results are folded where it helps the reader and no line is longer;
// what is wrong has a colour, unless the person wants none.
func TestOperatorHasANarrowTerminal(t *testing.T) {
	t.Parallel()
	a := startEcho(t, "a", "127.0.0.1:0")
	_, o := serveOperated(t, "splice", fmt.Sprintf(operated, a.address, a.address))
	o.do("PATCH", "/pools/pool/backends/a", `{"mode":"drain"}`)
	o.do("PATCH", "/pools/pool/backends/b", `{"mode":"drain"}`)
	for _, c := range []struct {
		name    string
		args    []string
		columns int
		env     string
		want    []string // lines
		colours bool
	}{
		{"status", []string{"status"}, 55, "NO_COLOR=", []string{"ready       \x1b[1;31mNO: listener front: pool pool has no usable", "            backend\x1b[m", "    a: mode is drain; b: mode is drain"}, true},
		{"status without colours", []string{"status"}, 55, "NO_COLOR=1", []string{"ready       NO: listener front: pool pool has no usable", "            backend"}, false},
		{"status on a terminal that knows none", []string{"status"}, 55, "TERM=dumb", []string{"ready       NO: listener front: pool pool has no usable", "            backend"}, false},
		{"explain", []string{"explain", "--client", "10.1.2.3"}, 66, "NO_COLOR=", []string{"why      No backend of pool pool is usable: a connection would be", "         reset.", "    mode is drain"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := openTerminal(t, uint16(c.columns), append(c.args, "--admin", "unix:"+o.socket), c.env)
			x.cmd.Wait() // by its status it is not ready
			for _, want := range c.want {
				x.await(want + "\r\n")
			}
			plain := regexp.MustCompile(`\x1b\[[0-9;]*m`).ReplaceAllString(x.written(), "")
			if coloured := plain != x.written(); coloured != c.colours {
				t.Errorf("got colours %v; want %v:\n%s", coloured, c.colours, x.written())
			}
			for _, line := range strings.Split(plain, "\r\n") {
				if n := utf8.RuneCountInString(line); n > c.columns && !strings.HasPrefix(line, "file ") { // a path is one word
					t.Errorf("got a line of %d: %s", n, line)
				}
			}
		})
	}
}
