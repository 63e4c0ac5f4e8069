package metrics

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/limeload/limeload/pkg/server"
	dto "github.com/prometheus/client_model/go"
)

// textWriter writes families in the text format or in OpenMetrics, a line at a time,
// without the objects that the library wants: a large scrape has hundreds of thousands
// of lines, and most of each is known before. What comes out is what the library would
// write, byte for byte.
type textWriter struct {
	batch
	open bool // OpenMetrics, else the text format
}

// title begins a family.
func (t *textWriter) title(name, help string, kind dto.MetricType) {
	if t.open && kind == counters {
		name = strings.TrimSuffix(name, "_total")
	}
	t.line = append(append(append(t.line, "# HELP "...), name...), ' ')
	t.line = appendEscaped(t.line, help, t.open)
	t.line = append(append(append(t.line, "\n# TYPE "...), name...), ' ')
	t.line = append(append(t.line, strings.ToLower(kind.String())...), '\n')
}

// begin is the name and the labels of a sample: those of its row and one more, each of
// which may be empty.
func (t *textWriter) begin(name, suffix, of, more string) {
	line := append(append(t.line, name...), suffix...)
	if of != "" || more != "" {
		line = append(append(line, '{'), of...)
		if of != "" && more != "" {
			line = append(line, ',')
		}
		line = append(append(line, more...), '}')
	}
	t.line = append(line, ' ')
}

// number ends a sample; in OpenMetrics every value shows that it is a float.
func (t *textWriter) number(v float64) {
	t.line = append(appendNumber(t.line, v, t.open), '\n')
}

// count ends a sample that is a number of things: in OpenMetrics it does not show that.
func (t *textWriter) count(n uint64) {
	if t.open {
		t.line = append(strconv.AppendUint(t.line, n, 10), '\n')
	} else {
		t.number(float64(n))
	}
}

func (t *textWriter) summary(name, of string, n uint64, took time.Duration) {
	t.begin(name, "_sum", of, "")
	t.number(took.Seconds())
	t.begin(name, "_count", of, "")
	t.count(n)
}

// histogram writes the plain buckets: each has what is below it, too.
func (t *textWriter) histogram(name, of string, d *server.Durations, shown [2]int) {
	var below uint64
	for i, n := range d.Buckets {
		below += n
		if e := server.DurationBound(i); e >= shown[0] && e <= shown[1] {
			t.bucket(name, of, math.Ldexp(1, e), below)
		}
	}
	t.bucket(name, of, math.Inf(1), d.Count())
	t.begin(name, "_sum", of, "")
	t.number(d.Sum.Seconds())
	t.begin(name, "_count", of, "")
	t.count(d.Count())
}

func (t *textWriter) bucket(name, of string, bound float64, n uint64) {
	var room [40]byte
	le := append(appendNumber(append(room[:0], `le="`...), bound, t.open), '"')
	t.begin(name, "_bucket", of, string(le))
	t.count(n)
}

// appendNumber appends a value, and in OpenMetrics a point if there is none.
func appendNumber(line []byte, v float64, open bool) []byte {
	if n := uint64(v); float64(n) == v && n < 1e6 {
		line = strconv.AppendUint(line, n, 10) // most are 0, 1 or small
		if open {
			line = append(line, ".0"...)
		}
		return line
	}
	switch {
	case math.IsInf(v, 1):
		return append(line, "+Inf"...)
	case math.IsInf(v, -1):
		return append(line, "-Inf"...)
	case math.IsNaN(v):
		return append(line, "NaN"...)
	}
	start := len(line)
	line = strconv.AppendFloat(line, v, 'g', -1, 64)
	if open && !strings.ContainsAny(string(line[start:]), "e.") {
		line = append(line, ".0"...)
	}
	return line
}

// appendLabel appends a label to those before it.
func appendLabel(text []byte, name, value string) []byte {
	if len(text) > 0 {
		text = append(text, ',')
	}
	text = append(append(text, name...), `="`...)
	return append(appendEscaped(text, value, true), '"')
}

// appendEscaped escapes what would end a value or, with quotes, a quoted one.
func appendEscaped(line []byte, s string, quotes bool) []byte {
	if !strings.ContainsAny(s, "\\\n\"") {
		return append(line, s...)
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\\':
			line = append(line, `\\`...)
		case c == '\n':
			line = append(line, `\n`...)
		case c == '"' && quotes:
			line = append(line, `\"`...)
		default:
			line = append(line, c)
		}
	}
	return line
}
