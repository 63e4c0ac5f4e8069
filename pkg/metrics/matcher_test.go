package metrics

import (
	"bytes"
	"slices"
	"testing"
)

// What is compressed comes back as it was, whatever was before it.
func FuzzMatcher(f *testing.F) {
	f.Add([]byte("pool-1\x12\x09backend-1 1 up"), []byte("pool-1\x12\x0abackend-10 2 down"), 1)
	f.Add(bytes.Repeat([]byte("abc"), 100), bytes.Repeat([]byte("abd"), 99), 20)
	f.Add([]byte{}, []byte{0, 1, 2}, 3)
	f.Add([]byte("pool-1"), []byte{}, 58)
	f.Add(make([]byte, 1000), make([]byte, 999), 40)
	var m matcher
	var d lineDeflater
	f.Fuzz(func(t *testing.T, before, text []byte, times int) {
		if len(text) == 0 {
			return // a fragment of nothing is not added; see fragment
		}
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
	word := []byte("what was there so long ago that nothing can refer to it")
	for _, between := range []int{farthest - len(word) - 1, farthest - len(word), farthest - len(word) + 1, 2 * farthest} {
		filling := bytes.Repeat([]byte{'-'}, between) // few hashes, so that the word's are not forgotten
		text := slices.Concat(word, filling, word)
		for _, from := range []int{0, len(text) - len(word)} { // met before, and as far back as the row before
			var d lineDeflater
			new(matcher).compress(&d, text, from)
			var g fragment
			g.keep(&d, text[from:])
			var out bytes.Buffer
			var z gzipLines
			z.reset(&out)
			z.Write(text[:from])
			z.add(&g)
			if err := z.Close(); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(unzipped(t, out.Bytes()), text) {
				t.Errorf("with %d bytes between, from %d: it came back changed", between, from)
			}
			if referred := d.n+uint(len(d.out))*8 < 8*uint(len(word)); from > 0 && referred != (between+len(word) <= farthest) {
				t.Errorf("%d bytes back: referred to is %v", between+len(word), referred)
			}
		}
	}
}
