package watch

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A file that nobody answers for is no change, and the watch goes on: what takes its place
// is told. A named pipe stands for a file on a server that is gone.
func TestSilentFileEndsNoWatch(t *testing.T) {
	r := watching(t, 50*time.Millisecond, func(dir string) string {
		path := filepath.Join(dir, "conf.toml")
		write(t, path, "one")
		return path
	}, func(f *File) { f.disk.Patience = 50 * time.Millisecond })
	pipe := filepath.Join(r.dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(pipe, r.path); err != nil {
		t.Fatal(err)
	}
	opened, err := os.OpenFile(r.path, os.O_WRONLY, 0) // returns when the watch opens it
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close() // what was left behind ends with it
	write(t, r.path+".new", "two")
	if err := os.Rename(r.path+".new", r.path); err != nil {
		t.Fatal(err)
	}
	if got := <-r.seen; got != "two" {
		t.Errorf("got %q; want two", got)
	}
}
