package main

import (
	"fmt"
	"strings"

	"github.com/limeload/limeload/splice/loadgen"
)

// runRecord is the result of run as it is printed. Durations are seconds.
type runRecord struct {
	Targets  []string     `json:"targets"`
	Duration float64      `json:"duration"`
	Threads  int          `json:"threads"`
	Verify   string       `json:"verify"`
	Works    []workRecord `json:"works"`
}

type workRecord struct {
	Mode        string            `json:"mode"`
	Connections int               `json:"connections"`
	Size        int               `json:"size"`
	Rate        float64           `json:"rate,omitempty"`
	Operations  uint64            `json:"operations"`
	PerSecond   float64           `json:"operations_per_second"`
	BytesUp     uint64            `json:"bytes_up"`
	BytesDown   uint64            `json:"bytes_down"`
	BitsUp      float64           `json:"bits_per_second_up"`
	BitsDown    float64           `json:"bits_per_second_down"`
	Latency     *latencyRecord    `json:"latency,omitempty"`
	Unfinished  uint64            `json:"unfinished"`
	Stalled     int               `json:"stalled"`
	Open        int               `json:"open"`
	Errors      map[string]uint64 `json:"errors"`
	FirstError  string            `json:"first_error,omitempty"`
}

type latencyRecord struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99.9"`
	Max  float64 `json:"max"`
}

func newRunRecord(o loadgen.Options, res *loadgen.Result) runRecord {
	r := runRecord{Duration: seconds(res.Elapsed), Threads: res.Threads, Verify: o.Verify.String()}
	for _, t := range o.Targets {
		r.Targets = append(r.Targets, t.String())
	}
	for i := range res.Reports {
		r.Works = append(r.Works, newWorkRecord(&res.Reports[i], r.Duration))
	}
	return r
}

func newWorkRecord(p *loadgen.Report, elapsed float64) workRecord {
	w := workRecord{
		Mode: p.Work.Mode.String(), Connections: p.Work.Connections, Size: p.Work.Size, Rate: p.Work.Rate,
		Operations: p.Operations, PerSecond: float64(p.Operations) / elapsed,
		BytesUp: p.BytesUp, BytesDown: p.BytesDown,
		BitsUp: float64(p.BytesUp) * 8 / elapsed, BitsDown: float64(p.BytesDown) * 8 / elapsed,
		Unfinished: p.Unfinished, Stalled: p.Stalled, Open: p.Open, Errors: map[string]uint64{},
	}
	if p.Latency.Count() > 0 {
		w.Latency = newLatencyRecord(p.Latency)
	}
	for k, n := range p.Errors.Count {
		if n > 0 {
			w.Errors[loadgen.ErrorKind(k).String()] = n
		}
	}
	if p.Errors.First != nil {
		w.FirstError = p.Errors.First.Error()
	}
	return w
}

func newLatencyRecord(l loadgen.Latency) *latencyRecord {
	return &latencyRecord{
		Mean: seconds(l.Mean()), P50: seconds(l.Percentile(50)), P90: seconds(l.Percentile(90)),
		P99: seconds(l.Percentile(99)), P999: seconds(l.Percentile(99.9)), Max: seconds(l.Percentile(100)),
	}
}

func (r *runRecord) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s for %s, %s, verified: %s\n", strings.Join(r.Targets, ", "), timeText(r.Duration), plural(r.Threads, "thread"), r.Verify)
	for _, w := range r.Works {
		b.WriteByte('\n')
		w.write(&b)
	}
	return b.String()
}

func (w *workRecord) write(b *strings.Builder) {
	item := func(name, format string, args ...any) {
		fmt.Fprintf(b, "  %-11s "+format+"\n", append([]any{name}, args...)...)
	}
	fmt.Fprintf(b, "%s: %s, %s", w.Mode, plural(w.Connections, "connection"), sizeText(w.Size))
	if w.Rate > 0 {
		fmt.Fprintf(b, ", %s op/s wanted", countText(w.Rate))
	}
	b.WriteByte('\n')
	if w.Mode == "pingpong" || w.Mode == "connect" {
		item("operations", "%s op/s (%d)", countText(w.PerSecond), w.Operations)
	}
	if w.Mode != "idle" {
		item("up", "%s (%s)", bitsText(w.BitsUp/8), bytesText(w.BytesUp))
		item("down", "%s (%s)", bitsText(w.BitsDown/8), bytesText(w.BytesDown))
	}
	if l := w.Latency; l != nil {
		item("latency", "p50 %s, p90 %s, p99 %s, p99.9 %s, max %s, mean %s", timeText(l.P50), timeText(l.P90), timeText(l.P99), timeText(l.P999), timeText(l.Max), timeText(l.Mean))
	}
	if w.Unfinished > 0 {
		item("unfinished", "%d operations that were due; in the latencies with their wait so far", w.Unfinished)
	}
	if w.Stalled > 0 {
		item("stalled", "%s moved nothing", plural(w.Stalled, "connection"))
	}
	if w.Mode != "connect" {
		item("open", "%s at the end", plural(w.Open, "connection"))
	}
	item("errors", "%s", w.errorText())
}

func (w *workRecord) errorText() string {
	if len(w.Errors) == 0 {
		return "none"
	}
	var kinds []string
	for k := range loadgen.ErrorKinds {
		if n := w.Errors[k.String()]; n > 0 {
			kinds = append(kinds, fmt.Sprintf("%d %s", n, k))
		}
	}
	return strings.Join(kinds, ", ") + "; the first: " + w.FirstError
}
