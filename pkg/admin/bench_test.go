package admin

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/server"
	"github.com/rs/zerolog"
)

// BenchmarkAPI is a request each to a server with 10 000 backends in 100 pools, without
// the sockets around it.
func BenchmarkAPI(b *testing.B) {
	var text strings.Builder
	for p := range 100 {
		fmt.Fprintf(&text, "[[listener]]\nname = \"listener-%d\"\nlisten = [\"127.0.0.1:0\"]\npool = \"pool-%d\"\n", p, p)
		fmt.Fprintf(&text, "[[pool]]\nname = \"pool-%d\"\nhealth = { type = \"none\" }\nbackend = [\n", p)
		for i := range 100 {
			fmt.Fprintf(&text, "{ name = \"backend-%d-%d\", address = \"127.%d.%d.1:1\" },\n", p, i, p+1, i)
		}
		text.WriteString("]\n")
	}
	c, err := config.Parse("test.toml", []byte(text.String()))
	if err != nil {
		b.Fatal(err)
	}
	s, err := server.New(c, zerolog.Nop())
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	<-s.Started()
	b.Cleanup(func() { cancel(); <-ran })
	h, err := Handler(s, Options{}, true)
	if err != nil {
		b.Fatal(err)
	}
	for _, path := range []string{
		"status", "pools", "pools/pool-7", "pools/pool-7/backends/backend-7-7", "sessions",
		"explain?listener=listener-7&client=10.1.2.3", "history", "history?pool=pool-7", "config", "events", "docs",
	} {
		b.Run(strings.ReplaceAll(path, "/", "."), func(b *testing.B) {
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest("GET", "/api/v1/"+path, nil))
				if w.Code != http.StatusOK {
					b.Fatalf("got %d %s", w.Code, w.Body)
				}
				n = w.Body.Len()
			}
			b.ReportMetric(float64(n)/1e6, "MB")
		})
	}
}
