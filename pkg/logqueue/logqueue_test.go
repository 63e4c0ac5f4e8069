package logqueue

import (
	"bytes"
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
