package server

import (
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"time"

	"github.com/limeload/limeload/pkg/proxy"
)

// Refused is what is told of the clients that a listener refused for one reason: one of
// them, and what it met.
type Refused struct {
	Refusal Refusal
	DryRun  bool // they were let in all the same
	Count   uint64
	At      time.Time  // when it was told, which is up to 5 s later
	Client  netip.Addr // one of them; the zero value for one of a unix socket
	Rule    string     // of the access list; else empty
}

// ClientText is the client as the session's line has it.
func (r *Refused) ClientText() string {
	if !r.Client.IsValid() {
		return "unix"
	}
	return r.Client.String()
}

// words are r in words for a person.
func (r *Refused) words() string {
	what := fmt.Sprintf("%d clients, one of them %s", r.Count, r.ClientText())
	if r.Count == 1 {
		what = "client " + r.ClientText()
	}
	if r.Rule != "" {
		what += ": " + r.Rule
	}
	if r.DryRun {
		what += " (dry run)"
	}
	return what
}

// refusedLately keeps the latest of each listener's refusals, by reason. The zero value is
// empty.
type refusedLately struct {
	mu     sync.Mutex
	latest map[*proxy.Listener]*[2][NumRefusals]Refused // without and with dry run
}

func (k *refusedLately) note(l *proxy.Listener, r Refused) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.latest[l] == nil {
		if k.latest == nil {
			k.latest = map[*proxy.Listener]*[2][NumRefusals]Refused{}
		}
		k.latest[l] = &[2][NumRefusals]Refused{}
	}
	k.latest[l][index(r.DryRun)][r.Refusal] = r
}

// forget drops the listeners that are gone.
func (k *refusedLately) forget(gone func(*proxy.Listener) bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	maps.DeleteFunc(k.latest, func(l *proxy.Listener, _ *[2][NumRefusals]Refused) bool { return gone(l) })
}

// of are a listener's, with how many there were since the start, in the order of Refusal.
func (k *refusedLately) of(l *proxy.Listener) (all []Refused) {
	k.mu.Lock()
	defer k.mu.Unlock()
	latest := k.latest[l]
	if latest == nil {
		return nil
	}
	for _, r := range proxy.Refusals() {
		for i, count := range [...]uint64{l.Refused[r].Load(), l.DryRun[r].Load()} {
			if one := latest[i][r]; !one.At.IsZero() {
				one.Count = count
				all = append(all, one)
			}
		}
	}
	return all
}

// index is 0 for false and 1 for true.
func index(b bool) int {
	if b {
		return 1
	}
	return 0
}
