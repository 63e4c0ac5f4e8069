package proxy

import (
	"net/netip"
	"testing"
	"time"

	"github.com/limeload/limeload/balancer"
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
	l := NewListener("front", zerolog.Nop(), Conf{Pool: NewPool("pool", pool, Dialing{Attempts: 1})})
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
}
