//go:build linux

// The tests in files e2e_*_test.go run the program as people do: the binary that
// the go command builds, with a configuration file, between real clients and real
// servers. What it did they read from its log, from the servers, and from the
// sockets' ends.
package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for what has to happen. It is long because it
// only ever passes when something is broken.
const patience = 40 * time.Second

// build makes the program, once for all tests. The file is removed at once: its
// descriptor keeps it, and nothing stays behind however the tests end.
var build = sync.OnceValues(func() (*os.File, error) {
	dir, err := os.MkdirTemp("", "limeload")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "limeload")
	compile := exec.Command("go", "build", "-o", path, ".")
	if raceDetector {
		compile = exec.Command("go", "build", "-race", "-o", path, ".")
	}
	if out, err := compile.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w\n%s", err, out)
	}
	return os.Open(path)
})

// onBothEngines runs test on the reactor and on the goroutine engine.
func onBothEngines(t *testing.T, test func(t *testing.T, engine string)) {
	for _, engine := range []string{"splice", "copy"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			test(t, engine)
		})
	}
}

// limeload is the running program.
type limeload struct {
	t      *testing.T
	cmd    *exec.Cmd
	log    *logbook
	exited chan struct{} // closed when it has ended and its log is complete
}

// prelude comes before every test's configuration.
const prelude = `
log      = { level = "debug", format = "json" }
engine   = { type = %q }
admin    = { listen = %q }
`

// serve starts limeload with a configuration, and returns when it listens. When t
// ends it must drain and exit with 0, unless the test has waited for its end itself.
func serve(t *testing.T, engine, config string) *limeload {
	t.Helper()
	return serveWithAdmin(t, engine, "", config)
}

// serveWithAdmin is serve with an admin API at an address; "" is none.
func serveWithAdmin(t *testing.T, engine, admin, config string) *limeload {
	t.Helper()
	return serveAll(t, fmt.Sprintf(prelude, engine, admin)+config)
}

// serveAll is serve with a configuration that is complete.
func serveAll(t *testing.T, config string) *limeload {
	t.Helper()
	program, err := build()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "limeload.toml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	l := &limeload{t: t, log: newLogbook(), exited: make(chan struct{})}
	l.cmd = exec.Command(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), program.Fd()), "serve", "-c", file)
	l.cmd.Args[0] = "limeload"
	l.cmd.Env = append(os.Environ(), "RUNTIME_DIRECTORY="+filepath.Dir(file), "GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE")) // no lingering at exit
	l.cmd.Stdout, l.cmd.Stderr = l.log, l.log
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go l.wait()
	t.Cleanup(l.check)
	l.await(fields{"msg": "started"})
	return l
}

func (l *limeload) wait() {
	l.cmd.Wait()
	l.log.end()
	close(l.exited)
}

// signal sends sig to the program.
func (l *limeload) signal(sig syscall.Signal) {
	l.t.Helper()
	if err := l.cmd.Process.Signal(sig); err != nil {
		l.t.Fatal(err)
	}
}

// status waits for the program's end and answers its exit status.
func (l *limeload) status() int {
	l.t.Helper()
	select {
	case <-l.exited:
	case <-time.After(patience):
		l.cmd.Process.Kill()
		l.t.Fatalf("limeload still runs after %v", patience)
	}
	return l.cmd.ProcessState.ExitCode()
}

// running reports whether the program has not ended.
func (l *limeload) running() bool {
	select {
	case <-l.exited:
		return false
	default:
		return true
	}
}

// check ends the program, if the test has not, and looks at what it left.
func (l *limeload) check() {
	if l.running() {
		l.cmd.Process.Signal(syscall.SIGTERM)
		if status := l.status(); status != 0 {
			l.t.Errorf("exit status after SIGTERM: got %d; want 0", status)
		}
	}
	if foreign := l.log.foreignLines(); len(foreign) > 0 {
		l.t.Errorf("limeload wrote what is no line of its log:\n%s", strings.Join(foreign, "\n"))
	}
	if l.t.Failed() {
		l.t.Logf("limeload's log:\n%s", l.log)
	}
}

// address is where a listener listens: its first address, as the log tells it.
func (l *limeload) address(listener string) string {
	l.t.Helper()
	return l.await(fields{"msg": "listening", "listener": listener}).text("address")
}

// eventually waits until condition holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// output runs a client program, which must succeed, and answers what it wrote.
func output(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(program), strings.Join(args, " "), err, out)
	}
	return string(out)
}
