package metrics

import (
	"bufio"
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
			body := bufio.NewWriterSize(w, bodyBuffer)
			defer body.Flush()
			next.ServeHTTP(buffered{w, body}, r)
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := writers.Get().(*gzip.Writer)
		z.Reset(w)
		body := bufio.NewWriterSize(z, bodyBuffer)
		defer func() {
			body.Flush()
			z.Close()
			writers.Put(z)
		}()
		next.ServeHTTP(buffered{w, body}, r)
	})
}

// bodyBuffer is how many bytes of a body are passed on at once. The encoders by
// themselves pass on 4 KiB, each of which is a system call or a call of the
// compressor.
const bodyBuffer = 64 << 10

// buffered is a response whose body goes through a buffer. It has the methods for
// which the encoders look before they make a buffer of their own.
type buffered struct {
	http.ResponseWriter
	body *bufio.Writer
}

func (b buffered) Write(p []byte) (int, error)       { return b.body.Write(p) }
func (b buffered) WriteString(s string) (int, error) { return b.body.WriteString(s) }
func (b buffered) WriteRune(r rune) (int, error)     { return b.body.WriteRune(r) }
func (b buffered) WriteByte(c byte) error            { return b.body.WriteByte(c) }

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
