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
		f, err := os.OpenFile(path, os.O_WRONLY, 0) // which waits for a reader
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
	for range 3 * mostLeft { // the first leave goroutines behind, and the others wait for those
		if _, err := d.Read(t.Context(), path, 99); err == nil || err.Error() != want {
			t.Fatalf("got %v; want %s", err, want)
		}
	}
	if n := d.leftAt(path); n != mostLeft {
		t.Errorf("got %d goroutines left behind; want %d", n, mostLeft)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Read(ctx, path, 99); !errors.Is(err, context.Canceled) {
		t.Errorf("for nobody: got %v; want %v", err, context.Canceled)
	}
	d.mu.Lock()
	d.left[path].last = time.Now().Add(-oneMoreAfter)
	d.mu.Unlock()
	if _, err := d.Read(t.Context(), path, 99); err == nil || d.leftAt(path) != mostLeft+1 {
		t.Errorf("after a while: got %v, %d left behind; want one more", err, d.leftAt(path))
	}
	d.release(t, path)
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

// A path that another file has by now can be read, although whoever asked about the one
// before never comes back.
func TestPathOfASilentFileIsFree(t *testing.T) {
	d := Disk{Patience: 20 * time.Millisecond}
	path, _ := silent(t)
	if _, err := d.Read(t.Context(), path, 99); err == nil {
		t.Fatal("got no error; want that nobody answers")
	}
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("lime"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.Patience = time.Minute
	if b, err := d.Read(t.Context(), path, 99); err != nil || string(b) != "lime" {
		t.Errorf("got %q, %v; want what is there now", b, err)
	}
	if err := os.Rename(path+".old", path); err != nil {
		t.Fatal(err)
	}
	d.release(t, path)
}

// Who does not want to know any more does not wait.
func TestReadUntilContextEnds(t *testing.T) {
	var d Disk
	path, _ := silent(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := d.Read(ctx, path, 99); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v; want %v", err, context.DeadlineExceeded)
	}
	d.release(t, path)
}

// release has all return that are left behind at a named pipe.
func (d *Disk) release(t *testing.T, path string) {
	t.Helper()
	for ; d.leftAt(path) > 0; time.Sleep(time.Millisecond) {
		f, err := os.OpenFile(path, os.O_RDWR, 0) // which waits for nobody
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
}

// leftAt is how many are left behind at a path.
func (d *Disk) leftAt(path string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if l := d.left[path]; l != nil {
		return l.n
	}
	return 0
}
