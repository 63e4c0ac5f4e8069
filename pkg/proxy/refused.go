package proxy

import (
	"net/netip"
	"sync"
	"sync/atomic"
)

// refused counts the clients that a listener did not let in, and keeps an example of
// each kind for who tells people.
type refused struct {
	Refused [NumRefusals]atomic.Uint64 // clients that were reset
	DryRun  [NumRefusals]atomic.Uint64 // that would have been reset or held, but for a dry run
	Delayed [NumRefusals]atomic.Uint64 // that were held, by the limit that they met first

	examples [2][NumRefusals]example // of Refused, and of DryRun
}

// example is a client, until somebody takes it.
type example struct {
	fresh  atomic.Bool
	mu     sync.Mutex
	client netip.Addr
}

func (f *refused) refuse(r Refusal, client netip.Addr) {
	f.Refused[r].Add(1)
	f.examples[0][r].keep(client)
}

func (f *refused) wouldRefuse(r Refusal, client netip.Addr) {
	f.DryRun[r].Add(1)
	f.examples[1][r].keep(client)
}

// keep notes a client, if the last one was taken. A flood costs one load each.
func (e *example) keep(client netip.Addr) {
	if e.fresh.Load() {
		return
	}
	e.mu.Lock()
	e.client = client
	e.mu.Unlock()
	e.fresh.Store(true)
}

// Example takes the example of a refusal, or of one in a dry run: a client that met
// it since the last call. It is the zero Addr for a client without an address.
func (f *refused) Example(r Refusal, dryRun bool) netip.Addr {
	e := &f.examples[0][r]
	if dryRun {
		e = &f.examples[1][r]
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fresh.Store(false)
	return e.client
}
