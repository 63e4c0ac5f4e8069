package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/limeload/limeload/splice/loadgen"
)

// line is one line of a comparison: work that every contestant does in every round.
type line struct {
	name string
	work loadgen.Work
	unit string // of which CPU is counted: GB, op or conn
}

// lines are all there are, in the order in which they run.
var lines = []line{
	{"download-8", loadgen.Work{Mode: loadgen.Download, Connections: 8}, "GB"},
	{"upload-8", loadgen.Work{Mode: loadgen.Upload, Connections: 8}, "GB"},
	{"download-1", loadgen.Work{Mode: loadgen.Download, Connections: 1}, "GB"},
	{"upload-1", loadgen.Work{Mode: loadgen.Upload, Connections: 1}, "GB"},
	{"pingpong-1", loadgen.Work{Mode: loadgen.PingPong, Connections: 1, Size: 64}, "op"},
	{"pingpong-8", loadgen.Work{Mode: loadgen.PingPong, Connections: 8, Size: 64}, "op"},
	{"pingpong-64", loadgen.Work{Mode: loadgen.PingPong, Connections: 64, Size: 64}, "op"},
	{"pingpong-512", loadgen.Work{Mode: loadgen.PingPong, Connections: 512, Size: 64}, "op"},
	{"pingpong-64-4k", loadgen.Work{Mode: loadgen.PingPong, Connections: 64, Size: 4 << 10}, "op"},
	{"pingpong-64-32k", loadgen.Work{Mode: loadgen.PingPong, Connections: 64, Size: 32 << 10}, "op"},
	{"connect-8", loadgen.Work{Mode: loadgen.Connect, Connections: 8, Size: 64}, "conn"},
	{"connect-64", loadgen.Work{Mode: loadgen.Connect, Connections: 64, Size: 64}, "conn"},
	{"idle", loadgen.Work{Mode: loadgen.Idle, Size: 64}, "conn"},
}

// title is what the line is about, for a person.
func (l line) title() string {
	n := l.work.Connections
	switch l.work.Mode {
	case loadgen.Download, loadgen.Upload:
		return fmt.Sprintf("bulk %s, %s", l.work.Mode, plural(n, "stream"))
	case loadgen.PingPong:
		return fmt.Sprintf("ping-pong of %s, %s", sizeText(l.work.Size), plural(n, "connection"))
	case loadgen.Connect:
		return fmt.Sprintf("connect, echo of %s, close, %d at once", sizeText(l.work.Size), n)
	}
	return fmt.Sprintf("%d idle connections", n)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// bulk tells whether the line moves streams.
func (l line) bulk() bool { return l.unit == "GB" }

// metrics are the figures that the line yields.
func (l line) metrics() []metric {
	switch {
	case l.work.Mode == loadgen.Idle:
		return []metric{memory, total, idleCPU}
	case l.bulk():
		return []metric{throughput, proxyCPU, machineCPU}
	}
	return []metric{throughput, p50, p90, p99, p999, longest, proxyCPU, machineCPU}
}

// selectLines are the lines whose names are given or begin with what is given and a
// hyphen: "pingpong" is all of its kind. Nothing given is every line.
func selectLines(names []string) ([]line, error) {
	if len(names) == 0 {
		return lines, nil
	}
	var chosen []line
	used := map[string]bool{}
	for _, l := range lines {
		for _, name := range names {
			if l.name == name || strings.HasPrefix(l.name, name+"-") {
				used[name] = true
				if !slices.ContainsFunc(chosen, func(c line) bool { return c.name == l.name }) {
					chosen = append(chosen, l)
				}
			}
		}
	}
	for _, name := range names {
		if !used[name] {
			return nil, fmt.Errorf("unknown work %q: want some of %s", name, strings.Join(lineNames(), ", "))
		}
	}
	return chosen, nil
}

func lineNames() (names []string) {
	for _, l := range lines {
		names = append(names, l.name)
	}
	return names
}
