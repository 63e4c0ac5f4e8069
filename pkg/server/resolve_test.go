package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/limeload/limeload/pkg/proxy"
	"github.com/rs/zerolog"
)

// Thousands of names and a name server that does not answer leave descriptors for
// clients.
func TestLookupsAtOneTime(t *testing.T) {
	var now, most atomic.Int32
	full := make(chan struct{})
	fill := sync.OnceFunc(func() { close(full) })
	r := newResolver(zerolog.Nop())
	r.dns = net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		n := now.Add(1)
		defer now.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		if n == 2*maxLookups {
			fill()
		}
		<-ctx.Done()
		return nil, errors.New("no answer")
	}}
	targets := make([]*proxy.Target, 20*maxLookups)
	for i := range targets {
		targets[i] = &proxy.Target{}
		r.add(targets[i], fmt.Sprintf("host-%d.example.", i), 1)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.first(ctx)
	}()
	select {
	case <-full: // both families of the first names
	case <-done:
	}
	cancel()
	<-done
	if got, want := most.Load(), int32(2*maxLookups); got != want {
		t.Errorf("got %d lookups at one time; want %d", got, want)
	}
	late := 0
	for _, n := range r.names {
		if !n.asked {
			late++
		}
	}
	if late == 0 {
		t.Error("all names were asked for; want those that were not reached left to the next turn")
	}
}
