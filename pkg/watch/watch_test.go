package watch

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig watches a file, and reads it whenever it is told of a change.
type rig struct {
	t    *testing.T
	dir  string // that the file is in
	path string
	seen chan string // contents, in the order in which they were told
}

// watching starts a rig on a file that prepare has made in dir.
func watching(t *testing.T, recheck time.Duration, prepare func(dir string) (path string), more ...func(*File)) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), seen: make(chan string, 100)}
	r.path = prepare(r.dir)
	f, err := Open(r.path)
	if err != nil {
		t.Fatal(err)
	}
	f.quiet, f.recheck = 50*time.Millisecond, recheck
	for _, set := range more {
		set(f)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f.Run(ctx, func() {
			b, err := os.ReadFile(r.path)
			if err != nil {
				b = []byte(err.Error())
			}
			r.seen <- string(b)
		})
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		f.Close()
	})
	return r
}

func plain(t *testing.T) func(dir string) string {
	return func(dir string) string {
		path := filepath.Join(dir, "conf.toml")
		write(t, path, "one")
		return path
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tells waits for a change to that content, and that there was no other one before it.
func (r *rig) tells(want string) {
	r.t.Helper()
	select {
	case got := <-r.seen:
		if got != want {
			r.t.Errorf("told of %q; want %q", got, want)
		}
	case <-time.After(30 * time.Second):
		r.t.Fatalf("never told of %q", want)
	}
}

// swap makes link lead to target in one step, as Kubernetes does.
func swap(t *testing.T, link, target string) {
	t.Helper()
	must(t, os.Symlink(target, link+".tmp"))
	must(t, os.Rename(link+".tmp", link))
}

const never = time.Hour

func TestWritten(t *testing.T) {
	r := watching(t, never, plain(t))
	write(t, r.path, "two")
	r.tells("two")
	write(t, r.path, "three")
	r.tells("three")
}

func TestRenamedOver(t *testing.T) {
	r := watching(t, never, plain(t))
	for i := range 3 {
		text := fmt.Sprint("version ", i)
		write(t, r.path+".new", text)
		must(t, os.Rename(r.path+".new", r.path))
		r.tells(text)
	}
}

// vim: a probe for whether files can be made here, the old file moved away, the new
// one written in its place, the old one removed.
func TestEdited(t *testing.T) {
	r := watching(t, never, plain(t))
	write(t, filepath.Join(r.dir, "4913"), "")
	must(t, os.Remove(filepath.Join(r.dir, "4913")))
	write(t, filepath.Join(r.dir, ".conf.toml.swp"), "swap")
	must(t, os.Rename(r.path, r.path+"~"))
	write(t, r.path, "two")
	must(t, os.Remove(r.path+"~"))
	must(t, os.Remove(filepath.Join(r.dir, ".conf.toml.swp")))
	r.tells("two")
}

// Nothing of this is another content; the last step is, so that the test can end.
func TestNoNews(t *testing.T) {
	for name, step := range map[string]func(r *rig){
		"touched":              func(r *rig) { must(t, os.Chtimes(r.path, time.Now(), time.Now())) },
		"another mode":         func(r *rig) { must(t, os.Chmod(r.path, 0o640)) },
		"the same again":       func(r *rig) { write(t, r.path, "one") },
		"the same renamed":     func(r *rig) { write(t, r.path+"2", "one"); must(t, os.Rename(r.path+"2", r.path)) },
		"another file":         func(r *rig) { write(t, filepath.Join(r.dir, "other.toml"), "two") },
		"emptied":              func(r *rig) { write(t, r.path, "") },
		"gone":                 func(r *rig) { must(t, os.Remove(r.path)) },
		"moved away":           func(r *rig) { must(t, os.Rename(r.path, r.path+".old")) },
		"gone and back":        func(r *rig) { must(t, os.Remove(r.path)); write(t, r.path, "one") },
		"its directory":        func(r *rig) { must(t, os.Rename(r.dir, r.dir+"2")); must(t, os.Rename(r.dir+"2", r.dir)) },
		"a directory in place": func(r *rig) { must(t, os.Remove(r.path)); must(t, os.Mkdir(r.path, 0o700)); must(t, os.Remove(r.path)) },
	} {
		t.Run(name, func(t *testing.T) {
			r := watching(t, 60*time.Millisecond, plain(t))
			step(r)
			time.Sleep(150 * time.Millisecond) // for a wrong call to come: what is right does not depend on it
			write(t, r.path, "two")
			r.tells("two")
		})
	}
}

// A file that is written piece by piece is told of when it is whole.
func TestWrittenInPieces(t *testing.T) {
	r := watching(t, never, plain(t))
	f, err := os.Create(r.path)
	must(t, err)
	defer f.Close()
	whole := ""
	for i := range 40 {
		piece := fmt.Sprintf("line %d\n", i)
		_, err := f.WriteString(piece)
		must(t, err)
		whole += piece
		time.Sleep(2 * time.Millisecond) // a slow writer
	}
	for got := ""; got != whole; {
		select {
		case got = <-r.seen: // on a machine that stops the writer for long, an earlier one may come
		case <-time.After(30 * time.Second):
			t.Fatal("never told of the whole file")
		}
	}
}

// A ConfigMap: the file is a link into a directory that is a link itself.
func TestConfigMap(t *testing.T) {
	version := func(dir string, n int) string {
		name := fmt.Sprintf("..2026_%d", n)
		must(t, os.Mkdir(filepath.Join(dir, name), 0o700))
		write(t, filepath.Join(dir, name, "conf.toml"), fmt.Sprint("version ", n))
		return name
	}
	r := watching(t, never, func(dir string) string {
		must(t, os.Symlink(version(dir, 0), filepath.Join(dir, "..data")))
		must(t, os.Symlink(filepath.Join("..data", "conf.toml"), filepath.Join(dir, "conf.toml")))
		return filepath.Join(dir, "conf.toml")
	})
	for n := 1; n <= 3; n++ {
		swap(t, filepath.Join(r.dir, "..data"), version(r.dir, n))
		must(t, os.RemoveAll(filepath.Join(r.dir, fmt.Sprintf("..2026_%d", n-1))))
		r.tells(fmt.Sprint("version ", n))
	}
}

// A link to a file elsewhere: what happens there is told, and so is another target.
func TestLink(t *testing.T) {
	elsewhere := t.TempDir()
	first, second := filepath.Join(elsewhere, "first"), filepath.Join(elsewhere, "second")
	write(t, first, "one")
	write(t, second, "three")
	r := watching(t, never, func(dir string) string {
		must(t, os.Symlink(first, filepath.Join(dir, "conf.toml")))
		return filepath.Join(dir, "conf.toml")
	})
	write(t, first, "two")
	r.tells("two")
	swap(t, r.path, second)
	r.tells("three")
	write(t, second, "four")
	r.tells("four")
	must(t, os.Remove(r.path)) // a link that is gone for a while, then a file
	write(t, r.path, "five")
	r.tells("five")
}

// A directory that was replaced is watched again, at the latest at the next look.
func TestReplacedDirectory(t *testing.T) {
	r := watching(t, 60*time.Millisecond, func(dir string) string {
		must(t, os.Mkdir(filepath.Join(dir, "etc"), 0o700))
		write(t, filepath.Join(dir, "etc", "conf.toml"), "one")
		return filepath.Join(dir, "etc", "conf.toml")
	})
	must(t, os.RemoveAll(filepath.Join(r.dir, "etc")))
	must(t, os.Mkdir(filepath.Join(r.dir, "etc"), 0o700))
	write(t, r.path, "two")
	r.tells("two")
	write(t, r.path, "three")
	r.tells("three")
}

// What changes between Open and Run is told.
func TestNothingIsMissedBeforeRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "conf.toml")
	write(t, path, "one")
	f, err := Open(path)
	must(t, err)
	defer f.Close()
	write(t, path, "two")
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	told := false
	f.Run(ctx, func() { told = true; cancel() })
	if !told {
		t.Error("a change before Run was not told")
	}
}

func TestOpenFails(t *testing.T) {
	for name, path := range map[string]string{
		"no file": filepath.Join(t.TempDir(), "none"), "a directory": t.TempDir(),
	} {
		if f, err := Open(path); err == nil {
			f.Close()
			t.Errorf("%s: got no error", name)
		}
	}
}

func TestWayTo(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	in := func(name string) string { return filepath.Join(dir, name) }
	must(t, os.Mkdir(in("real"), 0o700))
	write(t, in("real/file"), "x")
	must(t, os.Symlink("real", in("dirlink")))
	must(t, os.Symlink("dirlink/file", in("link")))
	must(t, os.Symlink("loop", in("loop")))
	for _, test := range []struct{ path, names, dirs string }{
		{"real/file", "[real/file]", "[real]"},
		{"dirlink/file", "[dirlink real/file]", "[. real]"},
		{"link", "[dirlink link real/file]", "[. real]"},
		{"loop", "[loop]", "[.]"},
		{"none/file", "[none]", "[.]"},
	} {
		w := wayTo(in(test.path))
		if got := relative(dir, w.names); got != test.names {
			t.Errorf("%s: names %s; want %s", test.path, got, test.names)
		}
		if got := relative(dir, w.dirs); got != test.dirs {
			t.Errorf("%s: directories %s; want %s", test.path, got, test.dirs)
		}
	}
}

// relative lists the paths of a set, sorted, as seen from dir.
func relative(dir string, set map[string]bool) string {
	var all []string
	for path := range set {
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			rel = path
		}
		all = append(all, rel)
	}
	slices.Sort(all)
	return fmt.Sprint(all)
}
