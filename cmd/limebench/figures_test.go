package main

import (
	"math"
	"slices"
	"testing"
	"time"
)

func TestSpread(t *testing.T) {
	for name, c := range map[string]struct {
		values []float64
		want   spread
	}{
		"none": {nil, spread{}},
		"one":  {[]float64{3}, spread{3, 3, 3, 1}},
		"odd":  {[]float64{5, 1, 2}, spread{2, 1, 5, 3}},
		"even": {[]float64{4, 1, 2, 9}, spread{3, 1, 9, 4}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := spreadOf(c.values); got != c.want {
				t.Errorf("got %+v; want %+v", got, c.want)
			}
		})
	}
}

// TestRatiosAreFormedWithinRounds: a round in which either has no figure has no ratio,
// and does not shift the others.
func TestRatiosAreFormedWithinRounds(t *testing.T) {
	ours := []figures{{throughput: 10}, nil, {throughput: 30}, {throughput: 40}, {throughput: 50}}
	theirs := []figures{{throughput: 5}, {throughput: 1}, {p50: 7}, {throughput: 0}, {throughput: 100}}
	got := ratios(ours, theirs, throughput)
	if want := []float64{2, 0.5}; !slices.Equal(got, want) {
		t.Errorf("got %v; want %v", got, want)
	}
}

func TestBest(t *testing.T) {
	of := map[string][]figures{
		"quick": {{throughput: 10, p99: 5}, {throughput: 30, p99: 5}, {throughput: 20, p99: 5}},
		"calm":  {{throughput: 90, p99: 1}, {throughput: 1, p99: 1}, {throughput: 1, p99: 9}},
		"none":  {nil, nil, nil},
	}
	names := []string{"none", "calm", "quick"}
	for m, want := range map[metric]string{throughput: "quick", p99: "calm", memory: ""} {
		if got := best(of, names, m); got != want {
			t.Errorf("%s: got %q; want %q", m, got, want)
		}
	}
}

func TestText(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{countText(0), "0"},
		{countText(7), "7.00"},
		{countText(999.4), "999"},
		{countText(999.6), "1.00 k"},
		{countText(123_456), "123 k"},
		{bitsText(1.5e9), "12.0 Gbit/s"},
		{bytesText(0), "0 B"},
		{bytesText(12_345_678), "12.3 MB"},
		{timeText(0), "0 ns"},
		{timeText(123e-6), "123 us"},
		{timeText(0.00987), "9.87 ms"},
		{timeText(0.99999), "1.00 s"},
		{timeText(75), "75.0 s"},
		{timeText(1234), "1234 s"},
		{digits(math.NaN()), "0"},
		{sizeText(64), "64 B"},
		{sizeText(4096), "4 KiB"},
		{sizeText(4097), "4097 B"},
		{spread{Median: 1.234, Low: 1, High: 1.5, Rounds: 5}.ratioText(), "1.23 (1.00-1.50)"},
		{spread{}.ratioText(), "-"},
	} {
		if c.got != c.want {
			t.Errorf("got %q; want %q", c.got, c.want)
		}
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int{"64": 64, "64B": 64, "4k": 4096, "4K": 4096, "4kb": 4096, "4KiB": 4096, "1M": 1 << 20, "2GiB": 2 << 30, "0": 0} {
		if got, err := parseSize(text); got != want || err != nil {
			t.Errorf("%s: got %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "k", "-1", "1.5k", "4 k", "4x", "4ki", "4kk", "4Bi", "99999999999999999999", "9999999999G"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%q: got %d; want an error", text, got)
		}
	}
}

// TestTable shows a report of made-up figures.
func TestTable(t *testing.T) {
	limeload, haproxy, nginx := examplePrograms()
	c := &comparison{rounds: 2, duration: time.Second, threads: 2}
	c.rows, _, _ = selectRows(contestants(limeload, haproxy, nginx), []string{"direct", "limeload", "haproxy-splice", "nginx"})
	c.lines = []line{lines[0], lines[7], lines[12]}
	c.lines[2].work.Connections = 10_000
	c.results = results{
		figures: map[string]map[string][]figures{
			"download-8": {
				"direct":         {{throughput: 4e9, machineCPU: 0.5}, {throughput: 4.4e9, machineCPU: 0.4}},
				"limeload":       {{throughput: 2e9, proxyCPU: 0.3, machineCPU: 1}, {throughput: 2.2e9, proxyCPU: 0.3, machineCPU: 1}},
				"haproxy-splice": {{throughput: 1.5e9, proxyCPU: 0.6, machineCPU: 1.4}, {throughput: 1.6e9, proxyCPU: 0.7, machineCPU: 1.5}},
				"nginx":          {{throughput: 1e9, proxyCPU: 1, machineCPU: 2}, nil},
			},
			"pingpong-512": {
				"limeload": {{throughput: 45e3, p50: 0.011, p90: 0.012, p99: 0.02, p999: 0.03, longest: 0.05, proxyCPU: 19e-6, machineCPU: 43e-6}},
				"nginx":    {{throughput: 37e3, p50: 0.013, p90: 0.014, p99: 0.018, p999: 0.04, longest: 0.06, proxyCPU: 20e-6, machineCPU: 51e-6}},
			},
			"idle": {
				"limeload": {{memory: 170, total: 8e6, idleCPU: 0.002}}, "nginx": {{memory: 9800, total: 99e6, idleCPU: 0}},
			},
		},
		errors:  map[string]map[string][]string{"download-8": {"nginx": {"nginx does not serve 127.0.0.1:20000"}}},
		configs: map[string]string{"limeload": "threads = 2\n"},
	}
	r := newReport(c, about{
		Begun: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Took: 75,
		Machine:  machine{Kernel: "linux 6.18", CPU: "Some CPU", CPUs: 2, Memory: 24 << 30},
		Versions: map[string]string{"nginx": "nginx/1.28", "limeload": "limeload 1.0"}, Missing: []string{"haproxy: haproxy is not installed"},
	})
	golden(t, r.text(), "report.txt")
	if err := r.err(); err == nil || err.Error() != "download-8, nginx: 1 round with errors, the first: nginx does not serve 127.0.0.1:20000" {
		t.Errorf("got %v; want nginx's error", err)
	}
}
