package metrics

import (
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
// 14 MB, of which 3 are what it keeps compressed.
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
	as := formOf(format)
	sections, _ := g.sections()
	if names := r.URL.Query()["name[]"]; len(names) > 0 {
		sections = slices.DeleteFunc(sections, func(s section) bool { return !slices.Contains(names, s.name) })
	}
	kept := foreign
	if as != foreign && takesGzip(r.Header.Values("Accept-Encoding")) {
		kept = as
	}
	p := g.pages.take(kept)
	defer g.pages.put(p)
	w.Header().Set("Content-Type", string(format))
	w.Header().Add("Vary", "Accept")
	w.Header().Add("Vary", "Accept-Encoding")
	out := &polite{w: w, sleep: time.Sleep}
	var zip *gzipLines
	if kept != foreign {
		w.Header().Set("Content-Encoding", "gzip")
		zip = &p.lines
		zip.reset(w)
		defer zip.Close()
		out.w = zip
	}
	p.read(g.server, out.pool)
	switch as {
	case plainText, openMetrics:
		p.writeText(out, zip, format, as == openMetrics, sections)
	case protobuf:
		p.writeProtobuf(out, zip, format, sections)
	default:
		p.writeForeign(out, format, sections)
	}
}

// form is a format that is written here.
type form byte

const (
	foreign form = iota // one that the library writes
	plainText
	openMetrics
	protobuf // delimited, as Prometheus asks for it
)

// formOf is the form of a format, in a version that is written here.
func formOf(f expfmt.Format) form {
	switch f.FormatType() {
	case expfmt.TypeTextPlain:
		return plainText
	case expfmt.TypeProtoDelim:
		return protobuf
	case expfmt.TypeOpenMetrics:
		if v := f.Version(); strings.HasPrefix(v, "1.") || strings.HasPrefix(v, "0.") {
			return openMetrics
		}
	}
	return foreign
}

// writeText writes sections as text, which is OpenMetrics or not. An error is the
// reader's, who has gone. zip is what out ends in if that keeps fragments; nil otherwise.
func (p *page) writeText(out *polite, zip *gzipLines, format expfmt.Format, open bool, sections []section) {
	t := &textWriter{batch: p.batch(out, zip), open: open}
	defer p.giveBack(&t.batch)
	if zip != nil {
		as := plainText
		if open {
			as = openMetrics
		}
		p.look(as, out.work)
	}
	library := expfmt.NewEncoder(t, format)
	for _, s := range sections {
		if s.made != nil {
			library.Encode(s.made)
		} else {
			s.text(p, t)
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

// writeProtobuf is the same for delimited protobuf.
func (p *page) writeProtobuf(out *polite, zip *gzipLines, format expfmt.Format, sections []section) {
	t := &protobufWriter{batch: p.batch(out, zip), inner: p.inner, matcher: &p.matcher}
	defer func() { p.giveBack(&t.batch); p.inner = t.inner }()
	if zip != nil {
		p.look(protobuf, out.work)
	}
	library := expfmt.NewEncoder(t, format)
	for _, s := range sections {
		if s.made != nil {
			library.Encode(s.made)
		} else {
			s.protobuf(p, t)
		}
		if t.err != nil {
			return
		}
	}
	t.flush()
}

// writeForeign has the library write sections, for a person who looks at what protobuf
// has: it takes several times as long, and is not compressed.
func (p *page) writeForeign(out io.Writer, format expfmt.Format, sections []section) {
	library := expfmt.NewEncoder(out, format)
	for _, s := range sections {
		if f, err := s.gather(p); err == nil && f != nil && library.Encode(f) != nil {
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
