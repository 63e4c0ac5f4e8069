package metrics

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// Most of a large scrape are counters and gauges of backends, as text. The library's
// encoder looks at every name and writes every word of every line on its own, which
// takes more than half of the time of a scrape; here a line is appended at once. What
// comes out is the same, byte for byte. Other kinds, and what is not ours, go through
// the library.

// plainText serves the text format and OpenMetrics; next serves the others.
func plainText(g *Gatherer, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		format := expfmt.NegotiateAccept(r.Header, expfmt.DefaultOpenMetricsAcceptedFormats()...)
		open, known := dialect(format)
		if !known {
			next.ServeHTTP(w, r)
			return
		}
		all, err := g.Gather()
		if err != nil && len(all) == 0 { // without /proc, sessions are shown all the same
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		if names := r.URL.Query()["name[]"]; len(names) > 0 {
			all = slices.DeleteFunc(all, func(f *dto.MetricFamily) bool { return !slices.Contains(names, f.GetName()) })
		}
		w.Header().Add("Vary", "Accept")
		w.Header().Set("Content-Type", string(format))
		encode(w, format, open, all) // an error is the client's, who has gone
	})
}

// dialect reports whether a format is OpenMetrics, and whether it or the text format
// is in a version that is written here.
func dialect(f expfmt.Format) (open, known bool) {
	switch f.FormatType() {
	case expfmt.TypeTextPlain:
		return false, true
	case expfmt.TypeOpenMetrics:
		return true, strings.Contains(string(f), "version=1.") || strings.Contains(string(f), "version=0.")
	}
	return false, false
}

// encode writes families in a format that dialect knows.
func encode(w io.Writer, format expfmt.Format, open bool, all []*dto.MetricFamily) error {
	library := expfmt.NewEncoder(w, format)
	e := encoder{w: w, open: open}
	for _, f := range all {
		var err error
		if e.takes(f) {
			err = e.family(f)
		} else {
			err = library.Encode(f)
		}
		if err != nil {
			return err
		}
	}
	if c, ok := library.(expfmt.Closer); ok {
		return c.Close() // the end of OpenMetrics
	}
	return nil
}

// encoder writes families of counters and gauges.
type encoder struct {
	w    io.Writer
	open bool // OpenMetrics, else the text format
	line []byte
}

// takes reports whether f is one of ours and simple enough.
func (e *encoder) takes(f *dto.MetricFamily) bool {
	return strings.HasPrefix(f.GetName(), prefix) && f.Unit == nil && len(f.Metric) > 0 &&
		(f.GetType() == gauges || f.GetType() == counters && strings.HasSuffix(f.GetName(), "_total"))
}

// flushAt is how many bytes come together before they are written.
const flushAt = 32 << 10

func (e *encoder) family(f *dto.MetricFamily) error {
	name, kind := f.GetName(), strings.ToLower(f.GetType().String())
	title := name
	if e.open {
		title = strings.TrimSuffix(name, "_total")
	}
	e.line = append(append(append(e.line[:0], "# HELP "...), title...), ' ')
	e.line = appendEscaped(e.line, f.GetHelp(), e.open)
	e.line = append(append(append(append(append(e.line, "\n# TYPE "...), title...), ' '), kind...), '\n')
	for _, m := range f.Metric {
		e.sample(name, m)
		if len(e.line) >= flushAt {
			if _, err := e.w.Write(e.line); err != nil {
				return err
			}
			e.line = e.line[:0]
		}
	}
	_, err := e.w.Write(e.line)
	return err
}

func (e *encoder) sample(name string, m *dto.Metric) {
	line := append(e.line, name...)
	for i, l := range m.Label {
		line = append(line, "{,"[min(i, 1)])
		line = append(append(line, l.GetName()...), `="`...)
		line = append(appendEscaped(line, l.GetValue(), true), '"')
	}
	if len(m.Label) > 0 {
		line = append(line, '}')
	}
	line = append(line, ' ')
	value := m.GetGauge().GetValue()
	if m.Counter != nil {
		value = m.Counter.GetValue()
	}
	e.line = append(e.number(line, value), '\n')
}

// number appends a value; in OpenMetrics every one shows that it is a float.
func (e *encoder) number(line []byte, v float64) []byte {
	start := len(line)
	line = strconv.AppendFloat(line, v, 'g', -1, 64)
	if e.open && !bytes.ContainsAny(line[start:], "e.NI") {
		line = append(line, ".0"...)
	}
	return line
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
