//go:build linux

package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// fields are what a line of the log is looked for by.
type fields map[string]any

// line is a line of limeload's log.
type line struct {
	place  int // in the log, from 0
	fields fields
}

func (ln line) has(want fields) bool {
	for key, value := range want {
		got, ok := ln.fields[key]
		if !ok || fmt.Sprint(got) != fmt.Sprint(value) {
			return false
		}
	}
	return true
}

// text is a field as the log wrote it, without quotes; empty if it is not there.
func (ln line) text(key string) string {
	if v, ok := ln.fields[key]; ok {
		return fmt.Sprint(v)
	}
	return ""
}

// number is a field that has to be a number.
func (ln line) number(t *testing.T, key string) float64 {
	t.Helper()
	n, ok := ln.fields[key].(json.Number)
	if !ok {
		t.Fatalf("field %s of %v: got %v; want a number", key, ln.fields, ln.fields[key])
	}
	f, err := n.Float64()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// logbook collects what limeload writes.
type logbook struct {
	mu      sync.Mutex
	partial []byte // the beginning of a line
	lines   []line
	foreign []string      // lines that are not JSON: panics, reports of the race detector
	all     bytes.Buffer  // as written
	changed chan struct{} // closed at the next line
	claimed map[int]bool  // by place; see limeload.session
	ended   bool
}

func newLogbook() *logbook { return &logbook{changed: make(chan struct{}), claimed: map[int]bool{}} }

func (b *logbook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all.Write(p)
	b.partial = append(b.partial, p...)
	for {
		text, rest, complete := bytes.Cut(b.partial, []byte("\n"))
		if !complete {
			break
		}
		b.add(text)
		b.partial = rest
	}
	close(b.changed)
	b.changed = make(chan struct{})
	return len(p), nil
}

func (b *logbook) add(text []byte) {
	ln := line{place: len(b.lines)}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&ln.fields); err != nil {
		b.foreign = append(b.foreign, string(text))
		return
	}
	b.lines = append(b.lines, ln)
}

// end notes that nothing more will come.
func (b *logbook) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *logbook) foreignLines() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.foreign
}

// takeForeign answers the lines that are not JSON, and forgets them: a test that takes
// them expects them.
func (b *logbook) takeForeign() (lines []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	lines, b.foreign = b.foreign, nil
	return lines
}

// maxShown is how much of a log a failed test shows, in bytes.
const maxShown = 32 << 10

// String is the log, or its end if it is long.
func (b *logbook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	text := b.all.String()
	if len(text) > maxShown {
		text = "...\n" + text[len(text)-maxShown:]
	}
	return text
}

// find answers the lines from place on that have what is wanted, with a channel that
// is closed when there may be more, and whether there will be no more.
func (b *logbook) find(place int, want fields) (found []line, changed <-chan struct{}, ended bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, ln := range b.lines[min(place, len(b.lines)):] {
		if ln.has(want) {
			found = append(found, ln)
		}
	}
	return found, b.changed, b.ended
}

// logged answers the lines that are there now and have what is wanted.
func (l *limeload) logged(want fields) []line {
	found, _, _ := l.log.find(0, want)
	return found
}

// await waits for a line and answers the first one.
func (l *limeload) await(want fields) line {
	l.t.Helper()
	return l.awaitCount(1, 0, want)[0]
}

// awaitAfter waits for a line behind another one.
func (l *limeload) awaitAfter(other line, want fields) line {
	l.t.Helper()
	return l.awaitCount(1, other.place+1, want)[0]
}

// awaitCount waits for n lines from place on.
func (l *limeload) awaitCount(n, place int, want fields) []line {
	l.t.Helper()
	timeout := time.After(patience)
	for {
		found, changed, ended := l.log.find(place, want)
		switch {
		case len(found) >= n:
			return found
		case ended:
			l.t.Fatalf("limeload ended with %d lines %v in its log; want %d", len(found), want, n)
		}
		select {
		case <-changed:
		case <-timeout:
			l.t.Fatalf("after %v there are %d lines %v in the log; want %d", patience, len(found), want, n)
		}
	}
}

// session waits for the line of the session of a client with this local address. A line is
// answered once: the system may give the port to a later client, at once if that goes
// to another listener.
func (l *limeload) session(client net.Addr) line {
	l.t.Helper()
	for n := 1; ; n++ {
		ln := l.awaitCount(n, 0, fields{"msg": "session", "client_port": portOf(client)})[n-1]
		if l.log.claim(ln) {
			return ln
		}
	}
}

// claim reports whether nobody has claimed a line before.
func (b *logbook) claim(ln line) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.claimed[ln.place] {
		return false
	}
	b.claimed[ln.place] = true
	return true
}

// portOf is the port of a TCP address.
func portOf(a net.Addr) int {
	_, port, _ := strings.Cut(a.String()[strings.LastIndexByte(a.String(), ':'):], ":")
	n, _ := strconv.Atoi(port)
	return n
}
