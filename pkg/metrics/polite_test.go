package metrics

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
)

// rude does not rest.
func rude(w io.Writer) *polite { return &polite{w: w, sleep: func(time.Duration) {}} }

// A scrape rests once for each stint, longer after a piece of several, and never for
// long.
func TestPolite(t *testing.T) {
	var rests []time.Duration
	p := &polite{w: io.Discard, sleep: func(d time.Duration) { rests = append(rests, d) }}
	for _, tt := range []struct {
		name  string
		sizes []int
		want  []time.Duration
	}{
		{"less than a stint", []int{stint / 2, stint / 4}, nil},
		{"the rest of it", []int{stint / 4}, []time.Duration{restAfter}},
		{"stints one after another", []int{stint, stint, stint + 1}, []time.Duration{restAfter, restAfter, restAfter}},
		{"several in a piece", []int{3*stint + 5}, []time.Duration{3 * restAfter}},
		{"very many in a piece", []int{1000 * stint}, []time.Duration{longestRest}},
	} {
		rests = nil
		for _, n := range tt.sizes {
			if m, err := p.Write(make([]byte, n)); m != n || err != nil {
				t.Fatalf("%s: wrote %d, %v; want %d", tt.name, m, err, n)
			}
		}
		if fmt.Sprint(rests) != fmt.Sprint(tt.want) {
			t.Errorf("%s: rested %v; want %v", tt.name, rests, tt.want)
		}
	}
	rests, p.done = nil, 0
	for range stint / poolWork {
		p.pool()
	}
	if len(rests) != 1 {
		t.Errorf("after the snapshots of %d pools: rested %v; want once", stint/poolWork, rests)
	}
}

// A scrape rests for what it does: less where text is kept.
func TestKeptTextNeedsLessRest(t *testing.T) {
	h := newHistory(1)
	for range 100 * fragmentRows {
		h.addBackend(&h.now.Pools[0])
	}
	var p page
	p.show(&h.now)
	scrape := func() (rests int) {
		out := &polite{w: &p.lines, sleep: func(time.Duration) { rests++ }}
		p.lines.reset(io.Discard)
		p.writeText(out, &p.lines, expfmt.NewFormat(expfmt.TypeOpenMetrics), true, ours)
		return rests
	}
	first, second := scrape(), scrape()
	if second == 0 || second >= first {
		t.Errorf("rested %d times, then %d times; want less, but some", first, second)
	}
}

// Scrapes after the first one make no garbage for each backend: collecting it would
// disturb sessions more than the scrape does.
func TestScrapesUseMemoryAgain(t *testing.T) {
	const backends = 2000
	var b strings.Builder
	b.WriteString("listener = [{ name = \"front\", listen = [\"127.0.0.1:0\"], pool = \"pool\" }]\n[[pool]]\nname = \"pool\"\nhealth = { type = \"none\" }\nbackend = [\n")
	for i := range backends {
		fmt.Fprintf(&b, "{ address = \"127.1.%d.%d:1\" },\n", i/250, i%250)
	}
	s := start(t, b.String()+"]\n")
	var p page
	format := expfmt.NewFormat(expfmt.TypeOpenMetrics)
	n := testing.AllocsPerRun(5, func() {
		p.read(s, nil)
		p.lines.reset(io.Discard)
		p.writeText(rude(&p.lines), &p.lines, format, true, ours)
		p.lines.Close()
	})
	if n > backends/2 {
		t.Errorf("%d backends: got %v allocations a scrape; want less than one for two of them", backends, n)
	}
}
