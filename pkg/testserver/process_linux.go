package testserver

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a server may take to start or to stop. It is long because it
// only ever passes when something is broken.
const patience = 60 * time.Second

// process is a running server.
type process struct {
	cmd    *exec.Cmd
	output *output
	ended  chan struct{} // closed when it and all that inherited its output are gone
}

// start runs cmd and returns when it has written ready.
func start(cmd *exec.Cmd, ready string) (*process, error) {
	p := &process{cmd: cmd, output: newOutput(ready), ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.output, p.output
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go p.wait()
	select {
	case <-p.output.ready:
		return p, nil
	case <-p.ended:
		return nil, fmt.Errorf("%s: ended before it was ready:\n%s", cmd.Path, p.output)
	case <-time.After(patience):
		p.signal(syscall.SIGKILL)
		return nil, fmt.Errorf("%s: not ready within %v:\n%s", cmd.Path, patience, p.output)
	}
}

// wait collects the process. Its pipe is at its end only when the process's own
// children are gone too.
func (p *process) wait() {
	p.cmd.Wait()
	close(p.ended)
}

func (p *process) signal(sig syscall.Signal) { p.cmd.Process.Signal(sig) }

// stop asks the process to end by sig, and insists if it does not.
func (p *process) stop(t testing.TB, sig syscall.Signal) {
	p.signal(sig)
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Errorf("%s: still runs %v after %v", p.cmd.Path, patience, sig)
		p.signal(syscall.SIGKILL)
	}
}

// running reports whether the process has not ended.
func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// output keeps what a process writes and tells when it has written a text.
type output struct {
	text  []byte // that makes it ready
	ready chan struct{}

	mu      sync.Mutex
	written bytes.Buffer
	told    bool
}

func newOutput(ready string) *output {
	return &output{text: []byte(ready), ready: make(chan struct{})}
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.written.Write(b)
	if !o.told && bytes.Contains(o.written.Bytes(), o.text) {
		o.told = true
		close(o.ready)
	}
	return len(b), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.written.String()
}

// showIfFailed logs what a server wrote, if t failed.
func (o *output) showIfFailed(t testing.TB, server string) {
	if t.Failed() {
		t.Logf("%s wrote:\n%s", server, o)
	}
}

// missing ends t, which needs a program that is not there.
func missing(t testing.TB, program, debianPackage string) {
	t.Helper()
	text := fmt.Sprintf("%s is not installed (Debian: apt-get install %s)", program, debianPackage)
	if os.Getenv("CI") == "true" {
		t.Fatal(text)
	}
	t.Skip(text)
}

// directory makes a directory with a short name: a unix socket's path, which may
// have to fit in it, has at most 107 bytes (unix(7)).
func directory(t testing.TB, pattern string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", pattern)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
