package watch

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/limeload/limeload/pkg/disk"
)

const (
	// quiet is how long nothing may have happened before the file is looked at: longer
	// than the pauses between the writes of one file.
	quiet = 200 * time.Millisecond

	// recheck is how often the file is looked at without a reason.
	recheck = 10 * time.Second

	// maxSize bounds what is read of the file, in bytes.
	maxSize = 64 << 20
)

// File watches one file. Take it from Open.
type File struct {
	path    string // absolute
	notify  *fsnotify.Watcher
	way     way
	content content // that was seen last
	disk    disk.Disk

	quiet, recheck time.Duration // as above, but for tests
}

// content stands for what is in a file.
type content [sha256.Size]byte

// Open begins to watch the file of that path. Changes from now on are told by Run, so
// who reads the file after Open misses none. The caller owes a Close.
//
// An error is the system's: of a file that cannot be read, or no watch to be had
// (fs.inotify.max_user_instances, fs.inotify.max_user_watches).
func Open(path string) (*File, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", path, err)
	}
	f := &File{path: abs, notify: notify, quiet: quiet, recheck: recheck}
	if err = f.follow(); err == nil {
		f.content, err = f.read(context.Background())
	}
	if err != nil {
		notify.Close()
		return nil, fmt.Errorf("watch %s: %w", path, err)
	}
	return f, nil
}

// Path is the file's, absolute.
func (f *File) Path() string { return f.path }

// Close ends the watch; Run must have returned, if it was called.
func (f *File) Close() error { return f.notify.Close() }

// Run calls changed whenever the file has another content, until ctx ends. Changes
// that come while changed runs are told by one call after it.
func (f *File) Run(ctx context.Context, changed func()) {
	look := time.NewTimer(f.recheck)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-f.notify.Events:
			if f.way.names[e.Name] {
				look.Reset(f.quiet)
			}
		case <-f.notify.Errors: // events were lost
			look.Reset(f.quiet)
		case <-look.C:
			look.Reset(f.recheck)
			if f.look(ctx) {
				changed()
			}
		}
	}
}

// look reports whether the file has another content than when it was seen last.
func (f *File) look(ctx context.Context) bool {
	f.follow() // what cannot be watched is looked at again anyway
	now, err := f.read(ctx)
	if err != nil || now == f.content {
		return false
	}
	f.content = now
	return true
}

// follow watches the directories on the way as it is now, and no others.
func (f *File) follow() error {
	now := wayTo(f.path)
	var errs []error
	for dir := range now.dirs {
		errs = append(errs, f.notify.Add(dir)) // one that is watched already stays so
	}
	for dir := range f.way.dirs {
		if !now.dirs[dir] {
			f.notify.Remove(dir) // which fails for a directory that is gone
		}
	}
	f.way = now
	return errors.Join(errs...)
}

// errEmpty is a file that somebody has only begun to write.
var errEmpty = errors.New("empty")

// read answers what is in the file.
func (f *File) read(ctx context.Context) (content, error) {
	b, err := f.disk.Read(ctx, f.path, maxSize)
	if err == nil && len(b) == 0 {
		err = fmt.Errorf("%s: %w", f.path, errEmpty)
	}
	return sha256.Sum256(b), err
}
