package disk

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// silent makes a file that is not opened until somebody answers for it: a named pipe, which
// is to a reader what a file on a server that is gone is.
func silent(t *testing.T) (path string, answer func(content string)) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "silent")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, func(content string) {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		f.WriteString(content)
		f.Close()
	}
}

func TestRead(t *testing.T) {
	var d Disk
	dir := t.TempDir()
	large := strings.Repeat("0123456789", piece/4) // several pieces, the last one not full
	for _, tt := range []struct{ name, content string }{{"empty", ""}, {"short", "lime\n"}, {"of several pieces", large}} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(dir, tt.name)
			if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if got, err := d.Read(t.Context(), path, int64(len(tt.content))); err != nil || string(got) != tt.content {
				t.Errorf("got %d bytes, %v; want the %d of the file", len(got), err, len(tt.content))
			}
			if got, err := d.Read(t.Context(), path, int64(len(tt.content)-1)); err == nil && tt.content != "" {
				t.Errorf("with one byte too many: got %d bytes; want an error", len(got))
			}
		})
	}
	if _, err := d.Read(t.Context(), filepath.Join(dir, "none"), 1); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: got %v; want %v", err, os.ErrNotExist)
	}
	if _, err := d.Stat(t.Context(), filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: got %v; want %v", err, os.ErrNotExist)
	}
	if got, err := d.Read(t.Context(), "/dev/zero", 3<<20); err == nil || !strings.HasSuffix(err.Error(), "larger than 3 MiB") {
		t.Errorf("without end: got %d bytes, %v; want an error", len(got), err)
	}
	if got, err := d.Read(t.Context(), "/proc/self/status", 1<<20); err != nil || len(got) == 0 {
		t.Errorf("a file without a size: got %d bytes, %v; want them all", len(got), err)
	}
}

func TestSilentFileSystem(t *testing.T) {
	d := Disk{Patience: 20 * time.Millisecond}
	path, answer := silent(t)
	want := "read " + path + ": the file system has not answered for 20ms"
	for range 3 { // the first leaves a goroutine behind, and the others wait for that
		if _, err := d.Read(t.Context(), path, 99); err == nil || err.Error() != want {
			t.Fatalf("got %v; want %s", err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Read(ctx, path, 99); !errors.Is(err, context.Canceled) {
		t.Errorf("for nobody: got %v; want %v", err, context.Canceled)
	}
	if len(d.left) != 1 {
		t.Errorf("got %d goroutines left behind; want 1", len(d.left))
	}
	d.mu.Lock()
	left := d.left[path]
	d.mu.Unlock()
	answer("too late")
	<-left
	read := make(chan string)
	d.Patience = time.Minute
	go func() {
		b, err := d.Read(t.Context(), path, 99)
		if err != nil {
			t.Error(err)
		}
		read <- string(b)
	}()
	answer("in time")
	if got := <-read; got != "in time" {
		t.Errorf("got %q; want what the file system answers now", got)
	}
}

// Who does not want to know any more does not wait, and one that is left so is waited for.
func TestReadUntilContextEnds(t *testing.T) {
	var d Disk
	path, answer := silent(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := d.Read(ctx, path, 99); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v; want %v", err, context.DeadlineExceeded)
	}
	d.mu.Lock()
	left := d.left[path]
	d.mu.Unlock()
	answer("too late")
	<-left
}
