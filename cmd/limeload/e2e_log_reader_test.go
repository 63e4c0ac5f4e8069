//go:build linux

package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/limeload/limeload/pkg/testserver"
	"golang.org/x/sys/unix"
)

// Who reads the log may leave, or read no more: that is no reason to serve nobody.

func TestReaderOfLogLeaves(t *testing.T) {
	p := startReadByTest(t)
	p.reader.Close()
	for range 20 { // each session is a line
		p.talk(t)
	}
	p.end(t)
}

func TestReaderOfLogStalls(t *testing.T) {
	p := startReadByTest(t)
	for range 2*smallPipe/shortLine + 20 {
		p.talk(t)
	}
	eventually(t, "the pipe has lines", func() bool { return p.unread(t) > 0 }) // more than it has room for were made
	p.end(t)
}

const (
	smallPipe = 4096 // capacity of the log's pipe in bytes: some twenty lines
	shortLine = 200  // bytes; no session's line has fewer
)

// readByTest is limeload with a log that goes through a pipe to the test.
type readByTest struct {
	cmd     *exec.Cmd
	reader  *os.File
	address string // that it listens on
}

func startReadByTest(t *testing.T) *readByTest {
	t.Helper()
	program, err := build()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	if _, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, smallPipe); err != nil {
		t.Fatal(err)
	}
	p := &readByTest{reader: r}
	p.cmd = exec.Command(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), program.Fd()),
		"serve", "--admin", "", "--listen", "127.0.0.1:0", "--backend", testserver.StartEcho(t, "127.0.0.1:0", "echo\n").Address())
	p.cmd.Stderr = w
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err = p.cmd.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill() })
	for log := json.NewDecoder(r); ; {
		var line struct{ Msg, Address string }
		switch err := log.Decode(&line); {
		case err != nil:
			t.Fatalf("limeload did not start: %v, %v", err, p.cmd.Wait())
		case line.Msg == "listening":
			p.address = line.Address
		case line.Msg == "started":
			return p
		}
	}
}

// talk has one session.
func (p *readByTest) talk(t *testing.T) {
	t.Helper()
	v := visit(t, p.address)
	v.chat(t)
	v.leave(t)
}

// unread is how many bytes of the log wait in the pipe.
func (p *readByTest) unread(t *testing.T) int {
	t.Helper()
	n, err := unix.IoctlGetInt(int(p.reader.Fd()), unix.TIOCINQ)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// end stops it, which it must do as always.
func (p *readByTest) end(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- p.cmd.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("limeload ended with %v; want status 0", err)
		}
	case <-time.After(patience):
		t.Errorf("limeload still runs %v after SIGTERM", patience)
	}
}
