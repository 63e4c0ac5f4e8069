package proxy

import (
	"net/netip"
	"testing"
	"time"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/pkg/access"
	"github.com/limeload/limeload/pkg/limit"
	"github.com/limeload/limeload/splice"
	"github.com/rs/zerolog"
)

// BenchmarkSession is all that a session costs above the sockets, without its log
// line.
func BenchmarkSession(b *testing.B) {
	backend := target("a", "10.0.0.1:5432")
	pool, err := balancer.New(balancer.Options{Algorithms: []string{"least-connections"}},
		[]balancer.Spec{{Name: "a", Address: "a", Weight: 1, Value: backend}})
	if err != nil {
		b.Fatal(err)
	}
	conf := Conf{Pool: NewPool("pool", pool, Dialing{Attempts: 1})}
	l := NewListener("front", zerolog.Nop(), conf)
	peer := splice.Peer{Remote: netip.MustParseAddrPort("192.0.2.7:1")}
	session := func() {
		s, _ := l.Open(peer)
		s.Dial(nil)
		s.(splice.Connected).Connected(time.Millisecond)
		s.Close(splice.Result{Reason: splice.ReasonClientClosed, Up: 100, Down: 1000, Duration: time.Second})
	}
	b.Run("one loop", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			session()
		}
	})
	b.Run("all loops", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				session()
			}
		})
	})
	b.Run("one loop, every limit", func(b *testing.B) {
		b.ReportAllocs()
		many := quota(1_000_000, limit.MaxRate, 10_000_000) // more than the benchmark can use up
		guarded := conf
		guarded.Admission = &Admission{
			Access: access.New(true, access.Source{Rules: []access.Rule{{Prefix: netip.MustParsePrefix("192.0.2.0/24")}}}),
			All:    many, Each: many, Table: limit.NewSources(1 << 20), Prefix: [2]int{32, 64},
		}
		l = NewListener("front", zerolog.Nop(), guarded)
		for b.Loop() {
			session()
		}
	})
}
