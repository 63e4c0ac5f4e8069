package metrics

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

// What is compressed comes back as it was, whatever was before it.
func FuzzMatcher(f *testing.F) {
	f.Add([]byte("pool-1\x12\x09backend-1 1 up"), []byte("pool-1\x12\x0abackend-10 2 down"), 1)
	f.Add(bytes.Repeat([]byte("abc"), 100), bytes.Repeat([]byte("abd"), 99), 20)
	f.Add([]byte{}, []byte{0, 1, 2}, 3)
	f.Add(make([]byte, 1000), make([]byte, 999), 40)
	var m matcher
	var d lineDeflater
	f.Fuzz(func(t *testing.T, before, text []byte, times int) {
		text = bytes.Repeat(text, 1+times&127)
		before = bytes.Repeat(before, 1+times>>7&127)
		var z gzipLines
		var out bytes.Buffer
		z.reset(&out)
		z.Write(before)
		var g fragment
		d.restart()
		m.compress(&d, slices.Concat(before, text), len(before))
		g.keep(&d, text)
		z.add(&g)
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		if got, want := unzipped(t, out.Bytes()), slices.Concat(before, text); !bytes.Equal(got, want) {
			t.Errorf("got %q back; want %q", got, want)
		}
	})
}

// Messages that differ in few places cost little, wherever they differ.
func TestMatcher(t *testing.T) {
	for _, tt := range []struct {
		name, before, own string
		most              int // bytes
	}{
		{"the same", "", "", 3},
		{"another digit", "1", "2", 6},
		{"a longer number", "9", "10", 9},
		{"a shorter number", "100", "99", 9},
		{"another word", "primary", "db", 9},
		{"a far longer word", "db", "primary-of-several", 26},
	} {
		var m matcher
		var d lineDeflater
		const head, tail = "a pool with a name, and a backend: ", ", and what comes after that"
		before := head + tt.before + tail
		m.compress(&d, []byte(before+head+tt.own+tail), len(before))
		d.align(1)
		if got := len(d.out); got > tt.most {
			t.Errorf("%s: got %d bytes; want at most %d", tt.name, got, tt.most)
		}
	}
}

// What lies farther back than a reference reaches is written again.
func TestMatcherFarAway(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, between := range []int{farthest - 41, farthest - 40, farthest - 39, 2 * farthest} {
		text := make([]byte, 40+between)
		for i := range text {
			text[i] = byte(random.Uint32())
		}
		text = append(text, text[:40]...)
		var d lineDeflater
		new(matcher).compress(&d, text, 0)
		var g fragment
		g.keep(&d, text)
		var out bytes.Buffer
		var z gzipLines
		z.reset(&out)
		z.add(&g)
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(unzipped(t, out.Bytes()), text) {
			t.Errorf("with %d bytes between: it came back changed", between)
		}
	}
}
