package healthcheck

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

var somewhere = Address{AddrPort: netip.MustParseAddrPort("10.0.0.11:5432")}

// shell is a command that runs a script, with the address and the port as $1 and $2.
func shell(script string) *Exec {
	return &Exec{Command: []string{"/bin/sh", "-c", script, "check"}}
}

func TestExec(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		verdict      Verdict
		text         string
	}{
		{"exit 0 is up", "echo fine", Up, ""},
		{"exit 1 is down", "exit 1", Down, "exit status 1"},
		{"the first line is the reason", "echo; echo disk full; echo more; exit 2", Down, "disk full"},
		{"of standard error, if there is no other", "echo disk full >&2; exit 2", Down, "disk full"},
		{"of standard output first", "echo error >&2; echo disk full; exit 2", Down, "disk full"},
		{"what is not printed is not printed", `printf '\033[31mred\n'; exit 2`, Down, ".[31mred"},
		{"exit 3 is unknown", "echo who knows; exit 3", Unknown, "who knows"},
		{"a signal is down", "kill -9 $$", Down, "signal: killed"},
		{"arguments", `test "$1 $2" = "10.0.0.11 5432"`, Up, ""},
		{"environment", `test "$LIMELOAD_ADDRESS $LIMELOAD_PORT" = "10.0.0.11 5432"`, Up, ""},
		{"environment, as HAProxy has it", `test "$HAPROXY_SERVER_ADDR $HAPROXY_SERVER_PORT" = "10.0.0.11 5432"`, Up, ""},
		{"nothing else of the environment", `env | grep LIMELOAD_TEST_SECRET && exit 1; exit 0`, Up, ""},
		{"no standard input", "read x && exit 1; exit 0", Up, ""},
		{"much output", "head -c 1000000 /dev/zero", Up, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("LIMELOAD_TEST_SECRET", "x")
			reason := Reason("")
			if tt.verdict != Up {
				reason = ReasonExec
			}
			r := probe(t, shell(tt.script), somewhere, patience)
			judged(t, r, tt.verdict, reason, tt.text)
			if len(r.Phases) != 1 || r.Phases[0].Name != "exec" {
				t.Errorf("phases: got %v; want exec", r.Phases)
			}
		})
	}
}

func TestExecUnixSocketAndSecrets(t *testing.T) {
	p := shell(`test "$1,$2,$LIMELOAD_USER,$LIMELOAD_PASSWORD,$MORE" = "/run/s,,me,secret,x"`)
	p.User, p.Password, p.Env = "me", Literal("secret"), []string{"MORE=x"}
	judged(t, probe(t, p, Address{Path: "/run/s"}, patience), Up, "", "")
	p.Password = func() (string, error) { return "", errors.New("gone") }
	judged(t, probe(t, p, Address{Path: "/run/s"}, patience), Unknown, ReasonLocal, "read password: gone")
}

func TestExecThatCannotRunIsUnknown(t *testing.T) {
	for command, want := range map[string]string{
		"/no/such/program": "run program: no such file or directory",
		"/etc/passwd":      "run passwd: permission denied",
	} {
		judged(t, probe(t, &Exec{Command: []string{command}}, somewhere, patience), Unknown, ReasonLocal, want)
	}
	judged(t, probe(t, &Exec{}, somewhere, patience), Unknown, ReasonLocal, "run: no command")
}

func TestExecInheritsNothing(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "canary"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	listen(t, "tcp", "127.0.0.1:0")
	// Where its output goes is a pipe, and a shell may have duplicates of its own.
	judged(t, probe(t, shell(`for fd in /proc/$$/fd/*; do case $(readlink $fd) in
		socket:*|*canary|anon_inode*) readlink $fd; exit 1;; esac; done`), somewhere, patience), Up, "", "")
}

// When the time is over, the whole group is killed: what the command has started, too.
func TestExecTimeoutKillsTheGroup(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	r := probe(t, shell(`sleep 1000 & echo $$ $! >`+pids+`; echo waiting; wait`), somewhere, 2*brief)
	judged(t, r, Down, ReasonTimeout, "timeout")
	text, err := os.ReadFile(pids)
	if err != nil {
		t.Skipf("the command was killed before it had written: %v", err)
	}
	for _, pid := range strings.Fields(string(text)) {
		waitUntil(t, "process "+pid+" is gone", func() bool { return gone(t, pid) })
	}
}

// What a command leaves behind is killed with it.
func TestExecLeavesNothingBehind(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	judged(t, probe(t, shell(`sleep 1000 & echo $! >`+pid), somewhere, patience), Up, "", "")
	text, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "the process is gone", func() bool { return gone(t, strings.TrimSpace(string(text))) })
}

// gone says whether a process is dead; the test's init may not have waited for it.
func gone(t *testing.T, pid string) bool {
	t.Helper()
	n, err := strconv.Atoi(pid)
	if err != nil {
		t.Fatal(err)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n))
	return syscall.Kill(n, 0) == syscall.ESRCH || err != nil || strings.Contains(string(stat), ") Z ")
}

// A process that left the group and keeps the output open delays the answer a little.
func TestExecDoesNotWaitForWhoLeft(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	r := probe(t, shell(`setsid sh -c 'echo $$ >`+pid+`; exec sleep 1000' & while ! test -s `+pid+`; do :; done; exit 1`), somewhere, patience)
	judged(t, r, Down, ReasonExec, "exit status 1")
	text, _ := os.ReadFile(pid)
	if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
		syscall.Kill(n, syscall.SIGKILL)
	}
}

func TestExecBoundsItsOutput(t *testing.T) {
	before := allocated()
	judged(t, probe(t, shell("exec cat /dev/zero"), somewhere, 2*brief), Down, ReasonTimeout, "timeout")
	if grown := allocated() - before; grown > 4<<20 {
		t.Errorf("allocated %d bytes; want a bound", grown)
	}
}
