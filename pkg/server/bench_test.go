package server

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/pkg/config"
	"github.com/rs/zerolog"
)

// large is the configuration of 10 000 backends in 100 pools, the first of which has
// this weight. They are probed once, nobody listens there.
func large(tb testing.TB, weight int, more string) *config.Config {
	tb.Helper()
	var b strings.Builder
	for p := range 100 {
		fmt.Fprintf(&b, "[[listener]]\nname = \"listener-%d\"\nlisten = [\"127.0.0.1:0\"]\npool = \"pool-%d\"\n", p, p)
		fmt.Fprintf(&b, "[[pool]]\nname = \"pool-%d\"\nhealth = { interval = \"1h\" }\nbackend = [\n", p)
		for i := range 100 {
			w := 10
			if p+i == 0 {
				w = weight
			}
			fmt.Fprintf(&b, "{ name = \"backend-%d-%d\", address = \"127.%d.%d.1:1\", weight = %d },\n", p, i, p+1, i, w)
		}
		if p == 0 {
			b.WriteString(more)
		}
		b.WriteString("]\n")
	}
	c, err := config.Parse("large.toml", []byte(b.String()))
	if err == nil {
		err = c.Validate()
	}
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// BenchmarkApply is one change among 10 000 backends: what Apply, or a change through
// the API, takes, without reading the file.
func BenchmarkApply(b *testing.B) {
	one, two := large(b, 1, ""), large(b, 2, "")
	more := large(b, 1, "{ name = \"more\", address = \"127.0.3.1:1\" },\n")
	s, err := New(one, zerolog.Nop())
	if err != nil {
		b.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- s.Run(context.Background()) }()
	<-s.Started()
	b.Cleanup(func() {
		gone, cancel := context.WithCancel(context.Background())
		cancel()
		s.Shutdown(gone)
		<-ran
	})
	probed := func() bool {
		for _, c := range s.monitor.Statuses() {
			if c.LastAt.IsZero() {
				return false
			}
		}
		return true
	}
	for !probed() {
	}
	apply := func(c *config.Config, want int) {
		changes, err := s.Apply(b.Context(), c)
		if err != nil || len(changes) != want {
			b.Fatalf("%d changes, %v; want %d", len(changes), err, want)
		}
	}
	pairs := func(name string, first, second func()) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				if n%2 == 0 {
					first()
				} else {
					second()
				}
			}
			b.StopTimer()
			if _, err := s.Reload(b.Context(), one, Reload{ResetOverrides: true}); err != nil { // as at the start
				b.Fatal(err)
			}
		})
	}
	pairs("weight", func() { apply(two, 1) }, func() { apply(one, 1) })
	pairs("backend added and removed", func() { apply(more, 1) }, func() { apply(one, 1) })
	same := large(b, 1, "")
	pairs("nothing", func() { apply(same, 0) }, func() { apply(one, 0) })
	set := func(m balancer.Mode) func() {
		return func() {
			if err := s.SetBackend(b.Context(), "pool-50", "backend-50-50", Settings{Mode: &m}); err != nil {
				b.Fatal(err)
			}
		}
	}
	pairs("drain through the API", set(balancer.Drain), set(balancer.Ready))
	added := config.DefaultBackend()
	added.Name, added.Address = "more", one.Pools[0].Backends[0].Address
	added.Address.Port = 2
	pairs("backend added and removed through the API", func() {
		if err := s.AddBackend(b.Context(), "pool-0", added); err != nil {
			b.Fatal(err)
		}
	}, func() {
		if err := s.RemoveBackend(b.Context(), "pool-0", "more", false); err != nil {
			b.Fatal(err)
		}
	})
}

// BenchmarkLoad is reading and checking the file of 10 000 backends.
func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		large(b, 1, "")
	}
}
