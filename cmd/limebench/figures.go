package main

import (
	"cmp"
	"math"
	"slices"
)

// metric is one thing that is measured. Times are seconds, memory is bytes.
type metric string

const (
	throughput metric = "throughput"  // units of work a second; bytes in bulk
	p50        metric = "p50"         // latencies
	p90        metric = "p90"         //
	p99        metric = "p99"         //
	p999       metric = "p99.9"       //
	longest    metric = "max"         //
	proxyCPU   metric = "proxy_cpu"   // CPU time of the proxy for one unit; a GB in bulk
	machineCPU metric = "machine_cpu" // CPU time of the whole machine for one unit
	memory     metric = "memory"      // of the proxy for one more idle connection
	total      metric = "memory_all"  // of the proxy with all idle connections
	idleCPU    metric = "idle_cpu"    // of the proxy with all idle connections, in cores
)

// figures is what one measurement yields. What does not apply is not in it.
type figures map[metric]float64

// spread is the median of some values, and their range.
type spread struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
	Rounds int     `json:"rounds"`
}

// spreadOf is the spread of values; of none it is zero.
func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	s := slices.Sorted(slices.Values(values))
	n := len(s)
	return spread{Median: (s[(n-1)/2] + s[n/2]) / 2, Low: s[0], High: s[n-1], Rounds: n}
}

// column is what each round says about m; rounds without it are left out.
func column(rounds []figures, m metric) (values []float64) {
	for _, f := range rounds {
		if v, ok := f[m]; ok {
			values = append(values, v)
		}
	}
	return values
}

// ratios is ours divided by theirs, round by round: contestants take turns within a
// round, so what else the machine does at the time divides away.
func ratios(ours, theirs []figures, m metric) (values []float64) {
	for i := range min(len(ours), len(theirs)) {
		a, ok := ours[i][m]
		b, also := theirs[i][m]
		if r := a / b; ok && also && !math.IsNaN(r) && !math.IsInf(r, 0) {
			values = append(values, r)
		}
	}
	return values
}

// best is the name with the best median of m, "" if nobody has it: the most
// throughput, the least of anything else.
func best(of map[string][]figures, names []string, m metric) string {
	having := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return len(column(of[n], m)) == 0 })
	if len(having) == 0 {
		return ""
	}
	return slices.MinFunc(having, func(a, b string) int {
		x, y := spreadOf(column(of[a], m)).Median, spreadOf(column(of[b], m)).Median
		if m == throughput {
			x, y = y, x
		}
		return cmp.Compare(x, y)
	})
}
