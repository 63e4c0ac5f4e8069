package metrics

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// zipped is text as gzipLines writes it in pieces of these sizes, and on without end.
func zipped(tb testing.TB, text []byte, sizes ...int) []byte {
	tb.Helper()
	var out bytes.Buffer
	var z gzipLines
	z.reset(&out)
	for i := 0; len(text) > 0; i++ {
		n := min(max(sizes[i%len(sizes)], 1), len(text))
		if m, err := z.Write(text[:n]); m != n || err != nil {
			tb.Fatalf("wrote %d, %v; want %d", m, err, n)
		}
		text = text[n:]
	}
	if err := z.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

// unzipped reads it back; gzip checks sum and length.
func unzipped(tb testing.TB, b []byte) []byte {
	tb.Helper()
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		tb.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		tb.Fatalf("after %d bytes: %v", len(text), err)
	}
	return text
}

func TestGzipLines(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 4<<10)
	for _, tt := range []struct{ name, text string }{
		{"nothing", ""},
		{"one byte", "x"},
		{"empty lines", "\n\n\n\n"},
		{"lines that are the same", strings.Repeat("the same\n", 100)},
		{"ends that overlap", "aaaaaaaa\naaaaaaaaaaaa\naaaa\naaaaaaaa"},
		{"a line longer than a reference", long[:600] + "\n" + long[:600] + "\n" + long[:259] + "\n" + long[:261] + "\n" + long[:258]},
		{"lines longer than what can be referred to", long + "\n" + long + "\n" + long},
		{"bytes of every value", func() string {
			var b strings.Builder
			for i := range 1024 {
				b.WriteByte(byte(i))
			}
			return b.String()
		}()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, size := range []int{1 << 20, 7, 1} {
				if got := unzipped(t, zipped(t, []byte(tt.text), size)); string(got) != tt.text {
					t.Errorf("in pieces of %d: got %d bytes back; want the %d that were written", size, len(got), len(tt.text))
				}
			}
		})
	}
}

// A reference of every length, over every kind of distance.
func TestGzipLinesOfEveryLength(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	line := make([]byte, longestPiece-1)
	for i := range line {
		line[i] = 'a' + byte(random.IntN(26))
	}
	for n := 1; n < len(line); n += 1 + n/200 {
		own := fmt.Sprint(n)
		text := string(line[:n]) + "\n" + string(line[:n]) + own + "\n" + own + string(line[len(line)-n:]) + "\n" + string(line[len(line)-n:]) + "\n"
		if got := unzipped(t, zipped(t, []byte(text), len(text))); string(got) != text {
			t.Fatalf("lines of %d bytes came back changed", n)
		}
	}
}

// A scrape shrinks to less than a fifth.
func TestGzipLinesOfAScrape(t *testing.T) {
	var b bytes.Buffer
	for _, mode := range []string{"ready", "drain"} {
		for i := range 10_000 {
			fmt.Fprintf(&b, "limeload_backend_mode{pool=\"pool-%d\",backend=\"backend-%d\",mode=%q} %d\n", i/100, i, mode, i%2)
		}
	}
	if got := len(zipped(t, b.Bytes(), 64<<10)); got > b.Len()/5 {
		t.Errorf("%d bytes became %d; want less than a fifth", b.Len(), got)
	}
}

func FuzzGzipLines(f *testing.F) {
	f.Add([]byte("limeload_backend_up{pool=\"a\",backend=\"b\"} 1\nlimeload_backend_up{pool=\"a\",backend=\"c\"} 1\n"), 7, 100)
	f.Add(bytes.Repeat([]byte("abcdefgh\n"), 3000), 1<<14, 3)
	f.Add([]byte{0, 255, 144, 143, '\n', 0, 255, 144, 143, '\n'}, 1, 1)
	f.Fuzz(func(t *testing.T, text []byte, one, another int) {
		if got := unzipped(t, zipped(t, text, one, another)); !bytes.Equal(got, text) {
			t.Errorf("got %q back; want %q", got, text)
		}
	})
}
