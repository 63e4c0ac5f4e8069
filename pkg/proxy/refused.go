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
	conf   *Conf // as it was then; nil once it was taken
}

func (l *Listener) refuse(r Refusal, client netip.Addr) {
	l.Refused[r].Add(1)
	l.examples[0][r].keep(client, &l.conf)
}

func (l *Listener) wouldRefuse(r Refusal, client netip.Addr) {
	l.DryRun[r].Add(1)
	l.examples[1][r].keep(client, &l.conf)
}

// keep notes a client, if the last one was taken. A flood costs one load each.
func (e *example) keep(client netip.Addr, conf *atomic.Pointer[Conf]) {
	if e.fresh.Load() {
		return
	}
	e.mu.Lock()
	e.client, e.conf = client, conf.Load()
	e.mu.Unlock()
	e.fresh.Store(true)
}

// take answers the client, and the configuration that it met: nil if nobody came since.
func (e *example) take() (netip.Addr, *Conf) {
	e.mu.Lock()
	defer e.mu.Unlock()
	conf := e.conf
	e.conf = nil
	e.fresh.Store(false)
	return e.client, conf
}

// Example takes the example of a refusal, or of one in a dry run: a client that met
// it since the last call, and the rule of the access list, if it was that, as the list
// was then. The client is the zero Addr if it has no address.
func (l *Listener) Example(r Refusal, dryRun bool) (client netip.Addr, rule string) {
	e := &l.examples[0][r]
	if dryRun {
		e = &l.examples[1][r]
	}
	client, conf := e.take()
	if r != AccessDenied || conf == nil || conf.Admission == nil || conf.Admission.Access == nil {
		return client, ""
	}
	return client, conf.Admission.Access.Rule(client)
}
