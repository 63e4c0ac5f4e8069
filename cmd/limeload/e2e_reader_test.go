//go:build linux

package main_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// The end of who reads the log is not the end of the program, and a reader that does not
// read stops nothing, not even the program's end.
func TestLogReaderFails(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		fail func(t *testing.T, reader *os.File)
	}{
		{"it ends", func(t *testing.T, reader *os.File) { reader.Close() }},
		{"it reads no more", func(*testing.T, *os.File) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := startEcho(t, "a", "127.0.0.1:0")
			l, reader := serveRead(t, balanced("first", unprobed, a, ""))
			address := l.address("front")
			held := visit(t, address)
			c.fail(t, reader)
			for range 400 { // of which each has a line; a pipe holds less
				v := visit(t, address)
				v.chat(t)
				v.leave(t)
			}
			held.chat(t)
			held.leave(t)
			l.signal(syscall.SIGTERM)
			if status := l.status(); status != 0 {
				t.Errorf("exit status: got %d; want 0", status)
			}
		})
	}
}

// serveRead is serve with a log that is read up to the line "started" and then left to
// the caller.
func serveRead(t *testing.T, config string) (*limeload, *os.File) {
	t.Helper()
	program, err := build()
	if err != nil {
		t.Fatal(err)
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reader.Close() })
	file := filepath.Join(t.TempDir(), "limeload.toml")
	if err := os.WriteFile(file, []byte(fmt.Sprintf(prelude, "splice", "")+config), 0o600); err != nil {
		t.Fatal(err)
	}
	l := &limeload{t: t, log: newLogbook(), exited: make(chan struct{})}
	l.cmd = exec.Command(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), program.Fd()), "serve", "-c", file)
	l.cmd.Stderr = writer
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	go l.wait()
	t.Cleanup(l.check)
	for b := make([]byte, 4096); len(l.logged(fields{"msg": "started"})) == 0; {
		n, err := reader.Read(b)
		l.log.Write(b[:n])
		if err != nil && err != io.EOF || n == 0 {
			t.Fatalf("limeload's log ended with %v", err)
		}
	}
	return l, reader
}
