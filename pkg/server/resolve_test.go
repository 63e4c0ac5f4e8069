package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"

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
	hosts := map[string]bool{}
	for i := range 20 * maxLookups {
		hosts[fmt.Sprintf("host-%d.example.", i)] = false
	}
	known := answers{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.lookUp(ctx, hosts, known)
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
	for _, a := range known {
		if a.late() {
			late++
		}
	}
	if len(known) != len(hosts) || late == 0 {
		t.Errorf("got answers for %d of %d names, %d of them late; want those that were not reached left to the next turn", len(known), len(hosts), late)
	}
}
