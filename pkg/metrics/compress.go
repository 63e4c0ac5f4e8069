package metrics

import (
	"compress/gzip"
	"net/http"
	"strings"
	"sync"
)

// compressed serves next through gzip where the client takes it. The level is the
// fastest: metrics shrink by a factor of twenty even so, and the level that promhttp
// has by itself would take more time than everything else in a scrape.
func compressed(next http.Handler) http.Handler {
	writers := sync.Pool{New: func() any {
		w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed)
		return w
	}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Accept-Encoding")
		if !takesGzip(r.Header.Values("Accept-Encoding")) {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := writers.Get().(*gzip.Writer)
		z.Reset(w)
		defer func() {
			z.Close()
			writers.Put(z)
		}()
		next.ServeHTTP(compressing{w, z}, r)
	})
}

// compressing is a response whose body goes through gzip.
type compressing struct {
	http.ResponseWriter
	z *gzip.Writer
}

func (c compressing) Write(b []byte) (int, error) { return c.z.Write(b) }

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
