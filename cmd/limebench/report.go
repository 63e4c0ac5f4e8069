package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// about is what a comparison was done with.
type about struct {
	Begun    time.Time         `json:"begun"`
	Took     float64           `json:"took"` // seconds
	Machine  machine           `json:"machine"`
	Versions map[string]string `json:"versions"`          // by program, as each tells it
	Missing  []string          `json:"missing,omitempty"` // rows that cannot run
}

type machine struct {
	Kernel string `json:"kernel"`
	CPU    string `json:"cpu"`
	CPUs   int    `json:"cpus"`
	Memory uint64 `json:"memory"` // bytes
}

// thisMachine tells as much as the system does.
func thisMachine() machine {
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	info, _ := os.ReadFile("/proc/meminfo")
	memory, _ := parseKB(string(info), "MemTotal")
	return machine{
		Kernel: runtime.GOOS + " " + strings.TrimSpace(string(kernel)), CPU: cpuModel(),
		CPUs: runtime.NumCPU(), Memory: memory,
	}
}

func cpuModel() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// report is the outcome of a comparison. Times are seconds, throughput in bulk is
// bytes a second, memory is bytes, idle CPU is cores.
type report struct {
	about
	Rounds         int               `json:"rounds"`
	Duration       float64           `json:"duration"`
	Threads        int               `json:"threads"`
	Configurations map[string]string `json:"configurations"`
	Lines          []lineReport      `json:"lines"`

	rows []string
}

type lineReport struct {
	Name    string               `json:"name"`
	Title   string               `json:"title"`
	Unit    string               `json:"unit"`
	Rows    map[string]rowReport `json:"rows"`
	metrics []metric
}

type rowReport struct {
	Rounds  []figures         `json:"rounds"`
	Medians map[metric]spread `json:"medians"`
	// Ratios are limeload's figures divided by this row's, by metric. They are not for
	// rows of limeload.
	Ratios map[metric]spread `json:"ratios,omitempty"`
	// Best names the metrics in which no other proxy but limeload is better.
	Best   []metric `json:"best,omitempty"`
	Errors []string `json:"errors,omitempty"`
}

func newReport(c *comparison, a about) *report {
	r := &report{about: a, Rounds: c.rounds, Duration: seconds(c.duration), Threads: c.threads, Configurations: c.results.configs}
	for _, row := range c.rows {
		r.rows = append(r.rows, row.name)
	}
	for _, l := range c.lines {
		if c.results.figures[l.name] != nil {
			r.Lines = append(r.Lines, newLineReport(c, l))
		}
	}
	return r
}

func newLineReport(c *comparison, l line) lineReport {
	of := c.results.figures[l.name]
	lr := lineReport{Name: l.name, Title: l.title(), Unit: l.unit, Rows: map[string]rowReport{}, metrics: l.metrics()}
	var peers []string
	for _, row := range c.rows {
		if row.program != nil && !row.ours() {
			peers = append(peers, row.name)
		}
	}
	for _, row := range c.rows {
		rr := rowReport{Rounds: of[row.name], Medians: map[metric]spread{}, Errors: c.results.errors[l.name][row.name]}
		for _, m := range l.metrics() {
			if values := column(of[row.name], m); len(values) > 0 {
				rr.Medians[m] = spreadOf(values)
			}
			if best(of, peers, m) == row.name {
				rr.Best = append(rr.Best, m)
			}
		}
		if !row.ours() {
			rr.Ratios = ratiosTo(of["limeload"], of[row.name], l.metrics())
		}
		lr.Rows[row.name] = rr
	}
	return lr
}

func ratiosTo(ours, theirs []figures, metrics []metric) map[metric]spread {
	out := map[metric]spread{}
	for _, m := range metrics {
		if values := ratios(ours, theirs, m); len(values) > 0 {
			out[m] = spreadOf(values)
		}
	}
	return out
}

// errorText is the first error, and how many rounds had one.
func (rr *rowReport) errorText() string {
	return plural(len(rr.Errors), "round") + " with errors, the first: " + rr.Errors[0]
}

// err is nil if every connection of every row went well.
func (r *report) err() error {
	var errs []error
	for _, l := range r.Lines {
		for _, row := range r.rows {
			if rr := l.Rows[row]; len(rr.Errors) > 0 {
				errs = append(errs, fmt.Errorf("%s, %s: %s", l.Name, row, rr.errorText()))
			}
		}
	}
	return errors.Join(errs...)
}
