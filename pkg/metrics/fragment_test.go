package metrics

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/healthcheck"
	"github.com/limeload/limeload/pkg/server"
	"github.com/limeload/limeload/splice"
	"github.com/prometheus/common/expfmt"
)

// compressedText is a scrape of what p shows.
func compressedText(tb testing.TB, p *page, format expfmt.Format, open bool) []byte {
	tb.Helper()
	var out bytes.Buffer
	p.lines.reset(&out)
	p.writeText(rude(&p.lines), &p.lines, format, open, ours)
	if err := p.lines.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

// history is a server's life as its snapshots tell it, without the time that it takes.
type history struct {
	*rand.Rand
	now   server.Snapshot
	names int // given so far
}

// name is a new name, mostly of the same length as others.
func (h *history) name() string {
	h.names++
	return fmt.Sprintf("%0*d", h.IntN(3)/2*20+5, h.names)
}

func newHistory(seed uint64) *history {
	h := &history{Rand: rand.New(rand.NewPCG(seed, 0))}
	for range 3 {
		h.now.Listeners = append(h.now.Listeners, server.ListenerSnapshot{Name: h.name()})
		h.now.Pools = append(h.now.Pools, server.PoolSnapshot{Name: h.name()})
	}
	h.now.Loops = make([]splice.LoopStats, 2)
	for i := range h.now.Pools {
		for range h.IntN(3 * fragmentRows) {
			h.addBackend(&h.now.Pools[i])
		}
	}
	return h
}

func (h *history) addBackend(p *server.PoolSnapshot) {
	var b server.BackendSnapshot
	b.Name, b.Weight = h.name(), h.IntN(3)
	p.Backends = slices.Insert(p.Backends, h.IntN(len(p.Backends)+1), b)
}

// step makes some changes: none, a few, or one everywhere.
func (h *history) step() {
	switch h.IntN(8) {
	case 0:
	case 1:
		h.changePools()
	case 2:
		for i := range h.now.Pools {
			for j := range h.now.Pools[i].Backends {
				h.changeBackend(&h.now.Pools[i].Backends[j])
			}
		}
	default:
		for range 1 + h.IntN(5) {
			h.changeOne()
		}
	}
}

// changePools adds, removes, renames and moves pools.
func (h *history) changePools() {
	ps := &h.now.Pools
	switch h.IntN(4) {
	case 0:
		p := server.PoolSnapshot{Name: h.name()}
		for range h.IntN(2 * fragmentRows) {
			h.addBackend(&p)
		}
		*ps = slices.Insert(*ps, h.IntN(len(*ps)+1), p)
	case 1:
		if len(*ps) > 1 {
			*ps = slices.Delete(*ps, 0, 1)
		}
	case 2:
		(*ps)[h.IntN(len(*ps))].Name = h.name()
	default:
		h.Shuffle(len(*ps), func(i, j int) { (*ps)[i], (*ps)[j] = (*ps)[j], (*ps)[i] })
	}
}

// changeOne changes something of a thing of any kind.
func (h *history) changeOne() {
	s := &h.now
	switch h.IntN(12) {
	case 0:
		s.Sessions, s.Limit, s.Stopping = h.IntN(9), h.IntN(2), h.IntN(2) == 0
		s.Sources.Limit, s.Sources.Entries = h.IntN(2), h.IntN(3)
	case 1:
		s.Loops[h.IntN(len(s.Loops))].Events++
		s.Loops[h.IntN(len(s.Loops))].SpliceBytes += h.Uint64N(1e9)
	case 2:
		h.changeListener(&s.Listeners[h.IntN(len(s.Listeners))])
	default:
		p := &s.Pools[h.IntN(len(s.Pools))]
		h.changePool(p)
		if n := len(p.Backends); n > 0 {
			h.changeBackend(&p.Backends[h.IntN(n)])
		}
	}
}

func (h *history) changeListener(l *server.ListenerSnapshot) {
	switch h.IntN(6) {
	case 0:
		l.Duration.Buckets[h.IntN(len(l.Duration.Buckets))]++
	case 1:
		l.Duration.Sum += time.Duration(h.IntN(1e9))
	case 2:
		l.Limited, l.Limit = h.IntN(2) == 0, h.IntN(2)
	case 3:
		l.Refused[h.IntN(len(l.Refused))]++
	case 4:
		l.Ended[h.IntN(len(l.Ended))]++
	default:
		l.Name = h.name()
	}
}

func (h *history) changePool(p *server.PoolSnapshot) {
	switch h.IntN(6) {
	case 0:
		h.addBackend(p)
	case 1:
		if n := len(p.Backends); n > 0 {
			i := h.IntN(n)
			p.Backends = slices.Delete(p.Backends, i, i+1)
		}
	case 2:
		if n := len(p.Backends); n > 0 { // to those that are leaving
			gone := p.Backends[n-1]
			gone.Removed = true
			p.Backends, p.Leaving = p.Backends[:n-1], append(p.Leaving, gone)
		}
	case 3:
		p.Leaving = nil
	case 4:
		p.Connect.Buckets[h.IntN(len(p.Connect.Buckets))]++
	}
}

// changeBackend changes one thing, or two that seem to be the same: a count to what
// another had.
func (h *history) changeBackend(b *server.BackendSnapshot) {
	switch h.IntN(16) {
	case 0:
		b.Name = h.name()
	case 1:
		b.Health = balancer.Health(h.IntN(3))
	case 2:
		b.Mode = balancer.Mode(h.IntN(3))
	case 3:
		b.Weight = h.IntN(3)
	case 4:
		b.Ruling.Breaker = server.BreakerState(h.IntN(server.NumBreakerStates))
	case 5:
		b.Ruling.Facts.Role = healthcheck.Role(h.IntN(3))
	case 6:
		b.Ruling.Facts.HasLag, b.Ruling.Facts.Lag.Bytes = h.IntN(2) == 0, int64(h.IntN(3))
	case 7:
		b.MaxConnections = h.IntN(2)
	case 8:
		b.Active = int64(h.IntN(3))
	case 9:
		b.Up, b.Down = b.Down, b.Up+h.Uint64N(2)
	case 10:
		b.DialFailedBy[h.IntN(len(b.DialFailedBy))] += h.Uint64N(1e12)
	case 11:
		b.Check.ID = []string{"", "probed"}[h.IntN(2)]
	case 12:
		b.Check.LastAt, b.Check.Last.Took = time.UnixMilli(h.Int64N(1e12)), time.Duration(h.IntN(1e9))
	case 13:
		b.Probes[h.IntN(len(b.Probes))]++
	case 14:
		b.ConnectTime += time.Duration(h.IntN(3))
	default:
		b.Sessions++
	}
}

// What is kept from one scrape to the next is what would be written anew, through all
// that can happen to a server.
func TestScrapesAreAsIfNothingWasKept(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	h, random := newHistory(seed), rand.New(rand.NewPCG(seed, 1))
	openMetrics, text := expfmt.NewFormat(expfmt.TypeOpenMetrics), expfmt.NewFormat(expfmt.TypeTextPlain)
	pages := [2]page{} // of scrapers that come by turns
	for i := range 250 {
		h.step()
		p, format, open := &pages[random.IntN(20)/19], openMetrics, true
		if random.IntN(50) == 0 {
			format, open = text, false
		}
		p.show(&h.now)
		got := compressedText(t, p, format, open)
		var fresh page
		fresh.show(&h.now)
		var want bytes.Buffer
		fresh.writeText(rude(&want), nil, format, open, ours)
		sameLines(t, unzipped(t, got), want.Bytes())
		if !bytes.Equal(got, compressedText(t, &fresh, format, open)) {
			t.Fatalf("step %d: what came of the same text is compressed in another way", i)
		}
	}
}

// A scrape makes only the fragments in which something changed, and those after a changed
// last line.
func TestFragmentsAreKept(t *testing.T) {
	h := newHistory(1)
	h.now.Pools = h.now.Pools[:1]
	for len(h.now.Pools[0].Backends) < 5*fragmentRows {
		h.addBackend(&h.now.Pools[0])
	}
	all := h.now.Pools[0].Backends
	var p page
	scrape := func() (made int) {
		p.show(&h.now)
		p.look(openMetrics, func(int) {})
		for _, kept := range p.backends.kept {
			for i := range kept {
				if kept[i].made != kept[i].wanted {
					made++
				}
			}
		}
		compressedText(t, &p, expfmt.NewFormat(expfmt.TypeOpenMetrics), true)
		return made
	}
	scrape()
	for _, tt := range []struct {
		name   string
		change func()
		want   int
	}{
		{"nothing", func() {}, 0},
		{"an address, which is no label", func() { all[5].Address = "127.0.0.1:1" }, 0},
		{"a weight", func() { all[5].Weight += 7 }, 2}, // and the effective weight
		{"a count in the middle of a fragment", func() { all[fragmentRows+5].Dials++ }, 1},
		{"a count in the first row of one", func() { all[fragmentRows].Dials++ }, 1},
		{"a count in the last row of one, to which the next one refers", func() { all[fragmentRows-1].Dials++ }, 2},
		{"a count in the last row of all", func() { all[len(all)-1].Dials++ }, 1},
		{"a name", func() { all[fragmentRows+5].Name = h.name() }, len(backends)},
	} {
		tt.change()
		if got := scrape(); got != tt.want {
			t.Errorf("%s: made %d fragments; want %d", tt.name, got, tt.want)
		}
	}
}

// What other programs make of it.
func TestCompressedScrapeForOthers(t *testing.T) {
	h := newHistory(rand.Uint64())
	var p page
	for range 3 {
		h.step()
		p.show(&h.now)
		body := compressedText(t, &p, expfmt.NewFormat(expfmt.TypeOpenMetrics), true)
		for _, command := range [][]string{{"gzip", "-dc"}, {"python3", "-c", "import sys,zlib; sys.stdout.buffer.write(zlib.decompress(sys.stdin.buffer.read(), 31))"}} {
			if _, err := exec.LookPath(command[0]); err != nil {
				t.Logf("%s is not installed", command[0])
				continue
			}
			c := exec.Command(command[0], command[1:]...)
			c.Stdin = bytes.NewReader(body)
			got, err := c.Output()
			if err != nil {
				t.Fatalf("%s: %v", command[0], err)
			}
			sameLines(t, got, unzipped(t, body))
		}
	}
}

// Lines and fragments at every bit of a word, of every number of bits, with records of some
// lines that refer to what came before.
func TestGzipLinesWithFragments(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var at [32]int // bits before
	var sizes [64]int
	var d lineDeflater
	for range 300 {
		var out, text bytes.Buffer
		var z gzipLines
		z.reset(&out)
		before := ""
		for range 40 {
			lines := 1 + random.IntN(4)
			line := someLine(random)
			if random.IntN(4) == 0 {
				io.WriteString(&z, line)
				text.WriteString(line)
				before = line
				continue
			}
			var g fragment
			g.make(&d, lastRecord([]byte(before), lines), []byte(line), lines)
			at[z.bits.n]++
			sizes[g.bits%64]++
			z.add(&g)
			text.WriteString(line)
			before = line
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		if got := unzipped(t, out.Bytes()); !bytes.Equal(got, text.Bytes()) {
			t.Fatalf("got %q; want %q", got, text.Bytes())
		}
	}
	if i := slices.Index(at[:], 0); i >= 0 {
		t.Errorf("no fragment was added after %d bits", i)
	}
	if i := slices.Index(sizes[:], 0); i >= 0 {
		t.Errorf("no fragment had %d bits", i)
	}
}

// someLine is a few lines, of few bytes and of many.
func someLine(random *rand.Rand) string {
	var b strings.Builder
	for range 1 + random.IntN(4) {
		fmt.Fprintf(&b, "limeload_backend_up{pool=\"pool\",backend=\"%s\"} %d\n", strings.Repeat("x", random.IntN(20)), random.IntN(1000))
	}
	return b.String()
}

func FuzzCRCAfter(f *testing.F) {
	f.Add([]byte("limeload"), []byte{}, uint16(0))
	f.Add([]byte{}, []byte{0}, uint16(65535))
	f.Add([]byte{255}, []byte("of every length\n"), uint16(257))
	f.Fuzz(func(t *testing.T, first, second []byte, times uint16) {
		second = bytes.Repeat(second, int(times)%1000+1)
		got := crcAfter(crc32.ChecksumIEEE(first), crc32.ChecksumIEEE(second), crcShift(uint32(len(second))))
		if want := crc32.ChecksumIEEE(slices.Concat(first, second)); got != want {
			t.Errorf("%d and %d bytes: got %#x; want %#x", len(first), len(second), got, want)
		}
	})
}

// Texts of all lengths, up to more than a fragment ever has.
func TestCRCAfter(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	text := make([]byte, 5<<20)
	for i := range text {
		text[i] = byte(random.Uint32())
	}
	first := text[:1000]
	for n := 0; n < len(text)-len(first); n += 1 + n/50 {
		second := text[len(first) : len(first)+n]
		got := crcAfter(crc32.ChecksumIEEE(first), crc32.ChecksumIEEE(second), crcShift(uint32(n)))
		if want := crc32.ChecksumIEEE(text[:len(first)+n]); got != want {
			t.Fatalf("after %d bytes: got %#x; want %#x", n, got, want)
		}
	}
}
