package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// text is the report for a person: what was compared, the configurations, a table for
// each line of work, and limeload against the best of the others.
func (r *report) text() string {
	var b strings.Builder
	r.writeHead(&b)
	r.writeConfigurations(&b)
	for i := range r.Lines {
		r.writeLine(&b, &r.Lines[i])
	}
	r.writeSummary(&b)
	return b.String()
}

func (r *report) writeHead(b *strings.Builder) {
	m := r.Machine
	fmt.Fprintf(b, "%s, %d x %s, %s of memory, %s\n", m.Kernel, m.CPUs, m.CPU, bytesText(m.Memory), r.Begun.UTC().Format("2006-01-02 15:04 UTC"))
	for _, program := range slices.Sorted(maps.Keys(r.Versions)) {
		fmt.Fprintln(b, r.Versions[program])
	}
	for _, m := range r.Missing {
		fmt.Fprintln(b, "left out: "+m)
	}
	fmt.Fprintf(b, "%s of %s for each row and piece of work, %s each; %s in all\n",
		plural(r.Rounds, "round"), timeText(r.Duration), plural(r.Threads, "thread"), timeText(r.Took))
}

// writeConfigurations shows what each row ran with. For idle connections it is the
// same, but for the port and room for more sessions.
func (r *report) writeConfigurations(b *strings.Builder) {
	for _, row := range slices.Sorted(maps.Keys(r.Configurations)) {
		fmt.Fprintf(b, "\n--- configuration of %s\n%s", row, r.Configurations[row])
	}
}

// writeLine writes the medians of every row, and below them limeload's ratios to the
// others.
func (r *report) writeLine(b *strings.Builder, l *lineReport) {
	fmt.Fprintf(b, "\n%s: %s (medians)\n", l.Name, l.Title)
	t := newTable(b)
	cells := []string{""}
	for _, m := range l.metrics {
		cells = append(cells, heading(m, l.Unit))
	}
	t.row(cells...)
	for _, row := range r.rows {
		if rr := l.Rows[row]; len(rr.Medians) > 0 {
			t.row(append([]string{row}, rr.cells(l)...)...)
		}
	}
	t.flush()
	r.writeRatios(b, l)
	for _, row := range r.rows {
		if rr := l.Rows[row]; len(rr.Errors) > 0 {
			fmt.Fprintf(b, "  ! %s: %s\n", row, rr.errorText())
		}
	}
}

func (rr *rowReport) cells(l *lineReport) (out []string) {
	for _, m := range l.metrics {
		cell := "-"
		if s, ok := rr.Medians[m]; ok {
			cell = valueText(m, l.Unit, s.Median)
		}
		out = append(out, cell)
	}
	return out
}

// inRatios are the metrics whose ratios are worth a column.
var inRatios = []metric{throughput, p50, p99, p999, proxyCPU, machineCPU, memory}

func (r *report) writeRatios(b *strings.Builder, l *lineReport) {
	metrics := slices.DeleteFunc(slices.Clone(inRatios), func(m metric) bool { return !slices.Contains(l.metrics, m) })
	t := newTable(b)
	cells := []string{"limeload /"}
	for _, m := range metrics {
		cells = append(cells, string(m))
	}
	t.row(cells...)
	for _, row := range r.rows {
		rr := l.Rows[row]
		if len(rr.Ratios) == 0 {
			continue
		}
		cells := []string{row}
		for _, m := range metrics {
			cells = append(cells, rr.Ratios[m].ratioText())
		}
		t.row(cells...)
	}
	if len(t.all) > 1 {
		b.WriteByte('\n')
		t.flush()
	}
}

// ratioText is the median of a ratio and its range.
func (s spread) ratioText() string {
	if s.Rounds == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f (%.2f-%.2f)", s.Median, s.Low, s.High)
}

// writeSummary sets limeload against the peer that is best at each figure.
func (r *report) writeSummary(b *strings.Builder) {
	t := newTable(b)
	t.left = true
	t.row("limeload / best peer", "throughput", "p99", "p99.9", "proxy CPU", "memory")
	for i := range r.Lines {
		l := &r.Lines[i]
		cells := []string{l.Name}
		for _, m := range []metric{throughput, p99, p999, proxyCPU, memory} {
			cells = append(cells, r.againstBest(l, m))
		}
		t.row(cells...)
	}
	if slices.Contains(r.rows, "limeload") && len(r.Lines) > 0 {
		b.WriteString("\nsummary: throughput is better above 1, everything else below\n")
		t.flush()
	}
}

func (r *report) againstBest(l *lineReport, m metric) string {
	for _, row := range r.rows {
		if rr := l.Rows[row]; slices.Contains(rr.Best, m) {
			if s := rr.Ratios[m]; s.Rounds > 0 {
				return s.ratioText() + " " + row
			}
		}
	}
	return "-"
}

// heading is a metric as the head of a column.
func heading(m metric, unit string) string {
	switch m {
	case throughput:
		if unit == "GB" {
			return "bit/s"
		}
		return unit + "/s"
	case proxyCPU:
		return "proxy CPU/" + unit
	case machineCPU:
		return "machine CPU/" + unit
	case memory:
		return "memory/conn"
	case total:
		return "memory"
	case idleCPU:
		return "CPU while idle"
	}
	return string(m)
}

// valueText is a figure with its unit.
func valueText(m metric, unit string, v float64) string {
	switch m {
	case throughput:
		if unit == "GB" {
			return bitsText(v)
		}
		return countText(v)
	case memory:
		return fmt.Sprintf("%.0f B", v)
	case total:
		return bytesText(uint64(v))
	case idleCPU:
		return fmt.Sprintf("%.1f %%", 100*v)
	}
	return timeText(v)
}

// table lines up cells, the first of each row to the left and all others to the
// right, or all to the left.
type table struct {
	out  *strings.Builder
	all  [][]string
	left bool
}

func newTable(b *strings.Builder) *table { return &table{out: b} }

func (t *table) row(cells ...string) {
	t.all = append(t.all, cells)
}

func (t *table) flush() {
	var lines strings.Builder
	w := tabwriter.NewWriter(&lines, 0, 0, 2, ' ', t.flags())
	first := 0
	for _, cells := range t.all {
		first = max(first, len(cells[0]))
	}
	for _, cells := range t.all {
		fmt.Fprintf(w, "%-*s\t%s\t\n", first, cells[0], strings.Join(cells[1:], "\t"))
	}
	w.Flush()
	for line := range strings.Lines(lines.String()) {
		fmt.Fprintln(t.out, strings.TrimRight(line, " \n"))
	}
}

func (t *table) flags() uint {
	if t.left {
		return 0
	}
	return tabwriter.AlignRight
}
