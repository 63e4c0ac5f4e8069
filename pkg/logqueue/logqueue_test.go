package logqueue

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gate is a writer that waits until it is opened.
type gate struct {
	bytes.Buffer
	begun chan struct{} // a write has begun
	open  chan struct{}
}

func (g *gate) Write(b []byte) (int, error) {
	select {
	case g.begun <- struct{}{}:
	default:
	}
	<-g.open
	return g.Buffer.Write(b)
}

func tell(out io.Writer, n int64) { fmt.Fprintf(out, "dropped %d\n", n) }

func TestOrderAndClose(t *testing.T) {
	var out bytes.Buffer
	w := New(&out, 1000, 0, tell)
	var want strings.Builder
	for i := range 500 {
		fmt.Fprintf(w, "line %d\n", i)
		fmt.Fprintf(&want, "line %d\n", i)
	}
	w.Close()
	if out.String() != want.String() {
		t.Errorf("got %q; want every line in order", out.String())
	}
	fmt.Fprintln(w, "late")
	w.Close()
	if strings.Contains(out.String(), "late") {
		t.Error("a line after Close was written")
	}
}

func TestFullQueueDropsAndCounts(t *testing.T) {
	g := &gate{begun: make(chan struct{}, 1), open: make(chan struct{})}
	w := New(g, 3, 0, tell)
	fmt.Fprintln(w, "first")
	<-g.begun // it is out of the queue
	for i := range 10 {
		fmt.Fprintln(w, i)
	}
	close(g.open)
	w.Close()
	if got, want := g.String(), "first\ndropped 7\n0\n1\n2\n"; got != want {
		t.Errorf("got %q; want %q", got, want)
	}
}

// disk is a writer with room for some bytes.
type disk struct {
	bytes.Buffer
	room int
}

func (d *disk) Write(b []byte) (int, error) {
	n := min(len(b), d.room)
	d.Buffer.Write(b[:n])
	d.room -= n
	if n < len(b) {
		return n, errors.New("no space left")
	}
	return n, nil
}

// What a full disk does not take is counted, and told when there is room again.
func TestRefusedLinesAreCounted(t *testing.T) {
	d := &disk{room: len("line 0\nline 1\nli")}
	w := &Writer{out: d, batch: 1 << 10, report: tell}
	for i := range 4 {
		w.mend()
		w.tellDropped()
		w.put(fmt.Appendf(nil, "line %d\n", i), 1)
	}
	d.room = 1000
	w.mend()
	w.tellDropped()
	w.put([]byte("line 4\nline 5\n"), 2)
	if got, want := d.String(), "line 0\nline 1\nli\ndropped 2\nline 4\nline 5\n"; got != want {
		t.Errorf("got %q; want %q", got, want)
	}

	d = &disk{room: len("line 0\nline 1\n")}
	w = &Writer{out: d, batch: 1 << 10, report: tell}
	w.put([]byte("line 0\nline 1\nline 2\nline 3\n"), 4)
	if got := w.dropped.Load(); got != 2 || w.torn {
		t.Errorf("of a batch of which half fits: got %d dropped, torn %v; want 2, false", got, w.torn)
	}
	w = &Writer{out: &disk{}, report: tell} // one line at a time
	w.put([]byte("line\n"), 1)
	if got := w.dropped.Load(); got != 1 {
		t.Errorf("of a line: got %d dropped; want 1", got)
	}
}

// Nothing is lost or torn between many writers, as long as there is room.
func TestManyWriters(t *testing.T) {
	var out bytes.Buffer
	w := New(&out, 10_000, 1<<10, tell)
	var all sync.WaitGroup
	for i := range 10 {
		all.Go(func() {
			for range 1000 {
				fmt.Fprintf(w, "%s\n", strings.Repeat(string(rune('a'+i)), 20))
			}
		})
	}
	all.Wait()
	w.Close()
	lines := strings.Fields(out.String())
	if len(lines) != 10_000 {
		t.Errorf("%d lines; want 10000", len(lines))
	}
	for _, l := range lines {
		if l != strings.Repeat(l[:1], 20) {
			t.Fatalf("a torn line: %q", l)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	w := New(io.Discard, 8192, 32<<10, func(io.Writer, int64) {})
	defer w.Close()
	line := []byte(strings.Repeat("x", 300) + "\n")
	b.ReportAllocs()
	for b.Loop() {
		w.Write(line)
	}
}

// What comes while the writer lets lines come together is not lost at the end.
func TestCloseInARest(t *testing.T) {
	g := &gate{begun: make(chan struct{}, 1), open: make(chan struct{})}
	close(g.open)
	w := New(g, 1000, 1<<10, tell)
	fmt.Fprintln(w, "first")
	<-g.begun
	fmt.Fprintln(w, "second")
	fmt.Fprintln(w, "third")
	w.Close()
	if got, want := g.String(), "first\nsecond\nthird\n"; got != want {
		t.Errorf("got %q; want %q", got, want)
	}
}
