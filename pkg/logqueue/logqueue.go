// Package logqueue puts a bounded queue between those who log and a slow writer.
//
// Write never blocks: it copies the line into a queue that one goroutine empties. A
// line that finds the queue full, or that the slow writer refuses (a full disk), is
// dropped and counted, and the next line that gets through is preceded by one that says
// how many. So a log that nobody reads costs lines, never traffic.
//
// The first line after a silence is written at once. What comes within the next rest is
// written together: to wake a goroutine for each line costs more than the line.
package logqueue

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// rest is how long the goroutine lets lines come together after it has written some.
const rest = 5 * time.Millisecond

// Writer is an io.WriteCloser in front of another one. All methods may be called by
// any number of goroutines.
type Writer struct {
	out     io.Writer
	batch   int
	report  func(out io.Writer, lines int64)
	lines   chan *[]byte
	dropped atomic.Int64
	spare   sync.Pool // of *[]byte
	ended   chan struct{}

	closing sync.RWMutex // held for reading by Write
	closed  bool

	torn bool // out has the beginning of a line; for empty alone
}

// New starts a writer with room for size lines. Lines that wait are written together,
// up to about batch bytes at once; with 0 each is a Write of its own. report is
// called, between lines, to write down how many were dropped since it was called
// last.
func New(out io.Writer, size, batch int, report func(out io.Writer, lines int64)) *Writer {
	w := &Writer{out: out, batch: batch, report: report, lines: make(chan *[]byte, size), ended: make(chan struct{})}
	w.spare.New = func() any { return new([]byte) }
	go w.empty()
	return w
}

// Write queues a copy of line, or drops it. It always answers its length and no
// error.
func (w *Writer) Write(line []byte) (int, error) {
	w.closing.RLock()
	defer w.closing.RUnlock()
	if w.closed {
		return len(line), nil
	}
	b := w.spare.Get().(*[]byte)
	*b = append((*b)[:0], line...)
	select {
	case w.lines <- b:
	default:
		w.dropped.Add(1)
		w.spare.Put(b)
	}
	return len(line), nil
}

// Close writes what is queued and returns when that is done. Lines that come later
// are lost.
func (w *Writer) Close() error {
	w.closing.Lock()
	if !w.closed {
		w.closed = true
		close(w.lines)
	}
	w.closing.Unlock()
	<-w.ended
	return nil
}

func (w *Writer) empty() {
	defer close(w.ended)
	var together []byte
	for b := range w.lines {
		w.mend()
		w.tellDropped()
		lines := int64(1)
		together = w.take(together[:0], b)
		for ; len(together) < w.batch; lines++ {
			b, ok := w.next()
			if !ok {
				break
			}
			together = w.take(together, b)
		}
		w.put(together, lines)
		if w.batch > 0 && len(w.lines) < cap(w.lines)/4 {
			time.Sleep(rest)
		}
	}
	w.mend()
	w.tellDropped()
}

// mend ends a line of which only the beginning was taken.
func (w *Writer) mend() {
	if w.torn {
		_, err := w.out.Write([]byte("\n"))
		w.torn = err != nil
	}
}

// put writes lines. Those that are refused are dropped.
func (w *Writer) put(together []byte, lines int64) {
	n, err := w.out.Write(together)
	if err == nil {
		return
	}
	if w.batch > 0 { // then the writer takes the lines as they are
		lines -= int64(bytes.Count(together[:n], []byte("\n")))
		w.torn = n == 0 && w.torn || n > 0 && together[n-1] != '\n'
	}
	w.dropped.Add(lines)
}

// next answers a line that waits already.
func (w *Writer) next() (b *[]byte, ok bool) {
	select {
	case b, ok = <-w.lines:
	default:
	}
	return b, ok
}

// take appends a line and recycles its buffer, unless that is a rare giant.
func (w *Writer) take(together []byte, b *[]byte) []byte {
	together = append(together, *b...)
	if cap(*b) <= 4<<10 {
		w.spare.Put(b)
	}
	return together
}

func (w *Writer) tellDropped() {
	n := w.dropped.Swap(0)
	if n == 0 {
		return
	}
	out := witness{Writer: w.out}
	if w.report(&out, n); out.err != nil {
		w.dropped.Add(n) // nobody has heard of them
	}
}

// witness remembers whether a write failed.
type witness struct {
	io.Writer
	err error
}

func (w *witness) Write(b []byte) (int, error) {
	n, err := w.Writer.Write(b)
	if err != nil {
		w.err = err
	}
	return n, err
}
