package main

import (
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Who asks counts what came over the wire, and says whether it was an answer.
func TestAsk(t *testing.T) {
	var n atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 5 {
			cancel()
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		io.WriteString(z, strings.Repeat(r.Header.Get("Accept"), 1000))
		z.Close()
	}))
	defer web.Close()
	defer http.DefaultClient.CloseIdleConnections()
	r, err := http.NewRequest(http.MethodGet, web.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Accept-Encoding", "gzip")
	a, err := ask(ctx, r, time.Millisecond)
	if err != nil || a.Requests < 5 || a.Bytes == 0 || a.Bytes > 1000 || a.P50 <= 0 || a.P99 < a.P50 || a.Max < a.P99 {
		t.Errorf("got %+v, %v; want 5 answers of some compressed bytes", a, err)
	}
	r.URL.Path = "/"
	web.Config.Handler = http.NotFoundHandler()
	if _, err := ask(t.Context(), r, time.Millisecond); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("got %v; want the status of an answer that is none", err)
	}
}

func TestAnswersInSum(t *testing.T) {
	var took []float64
	for i := range 200 {
		took = append(took, float64(200-i))
	}
	if got := (answers{}).sum(took); got.P50 != 100 || got.P99 != 198 || got.Max != 200 || got.Requests != 200 {
		t.Errorf("of 1 to 200: got %+v; want a median of 100 and a p99 of 198", got)
	}
	if got := (answers{}).sum(nil); got != (answers{}) {
		t.Errorf("of none: got %+v; want nothing", got)
	}
}
