package metrics

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/limeload/limeload/pkg/server"
	"github.com/prometheus/common/expfmt"
)

// maxScrapes bounds the memory of scrapes at one time: one of 10 000 backends has about
// 20 MB, of which 6 are kept text.
const maxScrapes = 4

// Handler serves the metrics of s, in the format that the scraper likes best: the
// text format, OpenMetrics, or protobuf, which alone has native histograms.
func Handler(s *server.Server, b Build) http.Handler {
	return atMost(maxScrapes, New(s, b))
}

// atMost has no more than n requests served at one time; the others are told to come
// again.
func atMost(n int, next http.Handler) http.Handler {
	under := make(chan struct{}, n)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case under <- struct{}{}:
			defer func() { <-under }()
			next.ServeHTTP(w, r)
		default:
			http.Error(w, fmt.Sprintf("%d scrapes are under way; try again later", n), http.StatusServiceUnavailable)
		}
	})
}

// ServeHTTP is a scrape. What process and runtime cannot tell is left out: a process
// without /proc shows its sessions all the same.
func (g *Gatherer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	format := expfmt.NegotiateAccept(r.Header, expfmt.DefaultOpenMetricsAcceptedFormats()...)
	open, isText := dialect(format)
	sections, _ := g.sections()
	if names := r.URL.Query()["name[]"]; len(names) > 0 {
		sections = slices.DeleteFunc(sections, func(s section) bool { return !slices.Contains(names, s.name) })
	}
	p := g.pages.take()
	defer g.pages.put(p)
	w.Header().Set("Content-Type", string(format))
	w.Header().Add("Vary", "Accept")
	w.Header().Add("Vary", "Accept-Encoding")
	out := &polite{w: w, sleep: time.Sleep}
	var zip *gzipLines
	if takesGzip(r.Header.Values("Accept-Encoding")) {
		w.Header().Set("Content-Encoding", "gzip")
		z := p.compressor(isText, w)
		defer z.Close()
		out.w = z
		zip, _ = z.(*gzipLines)
	}
	p.read(g.server, out.pool)
	if isText {
		p.writeText(out, zip, format, open, sections)
	} else {
		p.writeProtobuf(out, format, sections)
	}
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

// compressor is a gzip writer for w: one for text, or a general one.
func (p *page) compressor(isText bool, w io.Writer) io.WriteCloser {
	if isText {
		p.lines.reset(w)
		return &p.lines
	}
	if p.general == nil {
		p.general, _ = gzip.NewWriterLevel(nil, gzip.BestSpeed) // a level that there is
	}
	p.general.Reset(w)
	return p.general
}

// writeText writes sections in a format that dialect knows. An error is the reader's,
// who has gone. zip is what out ends in if that keeps fragments; nil otherwise.
func (p *page) writeText(out *polite, zip *gzipLines, format expfmt.Format, open bool, sections []section) {
	t := &textWriter{out: out, zip: zip, open: open, line: p.line[:0], bits: p.bits}
	defer func() { p.line, p.bits = t.line[:0], t.bits }()
	if zip != nil {
		p.look(open, out.work)
	}
	library := expfmt.NewEncoder(t, format)
	for _, s := range sections {
		if s.text != nil {
			s.text(p, t)
		} else if f := s.gather(p); f != nil {
			library.Encode(f)
		}
		if t.err != nil {
			return
		}
	}
	if c, ok := library.(expfmt.Closer); ok {
		c.Close() // the end of OpenMetrics
	}
	t.flush()
}

// writeProtobuf writes sections as the library does. An error is the reader's.
func (p *page) writeProtobuf(out io.Writer, format expfmt.Format, sections []section) {
	library := expfmt.NewEncoder(out, format)
	for _, s := range sections {
		f := s.gather(p)
		if f == nil {
			continue
		}
		if library.Encode(f) != nil {
			return
		}
	}
}

// takesGzip reports whether an Accept-Encoding names gzip, and not with a weight of
// zero (RFC 9110, 12.5.3).
func takesGzip(accept []string) bool {
	for part := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		coding, weight, _ := strings.Cut(strings.ToLower(strings.TrimSpace(part)), ";")
		if strings.TrimSpace(coding) == "gzip" {
			q, ok := strings.CutPrefix(strings.TrimSpace(weight), "q=")
			return !ok || strings.Trim(q, "0.") != ""
		}
	}
	return false
}
