// Package disk reads files of file systems that may not answer.
//
// A file on a server that is gone (NFS, say) is neither there nor missing: open, read and
// stat return when the server is back, and nothing that this process does ends them
// sooner. So each is left to a goroutine, and who asked goes on without it after a while:
//
//	Read ──> goroutine: open, read, read, ... ──> the content
//	  │                 each piece is a sign of life
//	  └─ none for Patience, or ctx ends ──> an error; the goroutine is left behind
//
// One that is left behind keeps a thread of the process until the file system lets go of
// it, which may be never, although another file has the path by now. So some may be left
// behind at a path, and then one more every few minutes: who asks again every second does
// not take a thread each time, and who has mended it is not kept from asking.
package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// Patience is how long a file system may be silent where Disk says nothing else: longer
// than a disk that has to spin up, and shorter than a person waits for an answer.
const Patience = 10 * time.Second

// ErrSilent is the error of a file system that does not answer.
var ErrSilent = errors.New("the file system has not answered")

const (
	// mostLeft is how many goroutines are left behind at a path before others have to wait
	// for one of them.
	mostLeft = 4
	// oneMoreAfter is how long they wait at most: even if the system never lets go of any,
	// the process has threads for two months (runtime/debug.SetMaxThreads).
	oneMoreAfter = 10 * time.Minute
)

// piece is how much is read at a time, in bytes: a slow network brings one within Patience.
const piece = 256 << 10

// Disk asks file systems. The zero value is ready; it is used by any number of goroutines.
type Disk struct {
	// Patience is how long a file system may be silent; 0 is the constant of that name.
	Patience time.Duration

	mu   sync.Mutex
	left map[string]*leftBehind // by path
}

// leftBehind are the goroutines at a path that nobody waits for any more.
type leftBehind struct {
	n       int
	last    time.Time     // when one was left
	returns chan struct{} // closed when one of them returns
}

// Read answers what is in a file, of at most max bytes (below 1 << 62). The error is that of the system, or
// of ctx, or ErrSilent.
func (d *Disk) Read(ctx context.Context, path string, max int64) ([]byte, error) {
	return ask(ctx, d, path, func(alive func()) ([]byte, error) { return read(path, max, alive) })
}

// Stat is os.Stat. The errors are those of Read.
func (d *Disk) Stat(ctx context.Context, path string) (os.FileInfo, error) {
	return ask(ctx, d, path, func(func()) (os.FileInfo, error) { return os.Stat(path) })
}

func read(path string, max int64, alive func()) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []byte
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		all = make([]byte, 0, min(info.Size(), max)+1)
	}
	for rest := io.LimitReader(f, max+1); ; alive() {
		if cap(all)-len(all) == 0 {
			all = append(all, make([]byte, piece)...)[:len(all)]
		}
		n, err := rest.Read(all[len(all):min(cap(all), len(all)+piece)])
		all = all[:len(all)+n]
		switch {
		case err == io.EOF:
			return all, nil
		case err != nil:
			return nil, err
		case int64(len(all)) > max:
			return nil, fmt.Errorf("read %s: larger than %d MiB", path, max>>20)
		}
	}
}

// answer is what became of a question.
type answer[T any] struct {
	value T
	err   error
}

// ask answers what do answers, which is told how to give signs of life.
func ask[T any](ctx context.Context, d *Disk, path string, do func(alive func()) (T, error)) (T, error) {
	var none T
	if err := d.awaitEarlier(ctx, path); err != nil {
		return none, err
	}
	answered, life := make(chan answer[T], 1), make(chan struct{}, 1)
	here := &asker{}
	go func() {
		defer d.back(path, here)
		v, err := do(func() {
			select {
			case life <- struct{}{}:
			default:
			}
		})
		answered <- answer[T]{v, err}
	}()
	silence := time.NewTimer(d.patience())
	defer silence.Stop()
	for {
		select {
		case a := <-answered:
			return a.value, a.err
		case <-life:
			silence.Reset(d.patience())
		case <-silence.C:
			select {
			case a := <-answered: // it was this process that did not run
				return a.value, a.err
			case <-life:
				silence.Reset(d.patience())
				continue
			default:
			}
			d.leave(path, here)
			return none, d.silent(path)
		case <-ctx.Done():
			d.leave(path, here)
			return none, fmt.Errorf("read %s: %w", path, ctx.Err())
		}
	}
}

// awaitEarlier waits until not too many goroutines are left behind at a path.
func (d *Disk) awaitEarlier(ctx context.Context, path string) error {
	silence := time.NewTimer(d.patience())
	defer silence.Stop()
	for {
		returns := d.crowdAt(path)
		if returns == nil {
			return nil
		}
		select {
		case <-returns:
		case <-silence.C:
			return d.silent(path)
		case <-ctx.Done():
			return fmt.Errorf("read %s: %w", path, ctx.Err())
		}
	}
}

// crowdAt is nil if one more may ask about a path, or else closed when one returns.
func (d *Disk) crowdAt(path string) chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.left[path]
	if l == nil || l.n < mostLeft || time.Since(l.last) >= oneMoreAfter {
		return nil
	}
	return l.returns
}

func (d *Disk) silent(path string) error {
	return fmt.Errorf("read %s: %w for %v", path, ErrSilent, d.patience())
}

func (d *Disk) patience() time.Duration {
	if d.Patience > 0 {
		return d.Patience
	}
	return Patience
}

// asker is one goroutine; guarded by mu.
type asker struct{ returned, left bool }

// leave notes a goroutine that is left behind, unless it has returned by now.
func (d *Disk) leave(path string, a *asker) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if a.returned {
		return
	}
	a.left = true
	l := d.left[path]
	if l == nil {
		if d.left == nil {
			d.left = map[string]*leftBehind{}
		}
		l = &leftBehind{returns: make(chan struct{})}
		d.left[path] = l
	}
	l.n++
	l.last = time.Now()
}

// back notes that a goroutine has returned.
func (d *Disk) back(path string, a *asker) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a.returned = true
	if !a.left {
		return
	}
	l := d.left[path]
	close(l.returns)
	if l.n--; l.n == 0 {
		delete(d.left, path)
		return
	}
	l.returns = make(chan struct{})
}
