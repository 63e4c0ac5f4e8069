package server

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/pkg/config"
)

// What is told as events, besides health, which the probes tell themselves.

// told bounds how many lines of a reload's changes or problems an event carries.
const told = 20

func (s *Server) tellStopping() {
	if !s.stopping.Swap(true) {
		s.publish(Event{Kind: EventLifetime, Old: "started", New: "stopping"})
	}
}

// tellReloaded tells what a configuration that was applied has changed; and where not all of
// it took effect, first how much did.
func (s *Server) tellReloaded(changes []config.Change) {
	var lines []string
	if t := config.TallyOf(changes); t.Delayed() {
		lines = append(lines, t.String())
	}
	for _, c := range changes {
		lines = append(lines, c.String())
	}
	s.publish(Event{Kind: EventReload, New: "applied", Reason: excerpt(lines, "nothing changed")})
}

// ReloadRefused tells that a configuration was not applied, and every problem of it: the
// lines of err. It is for who reads configurations; Apply does not tell by itself.
func (s *Server) ReloadRefused(err error) {
	s.publish(Event{Kind: EventReload, New: "refused", Reason: excerpt(strings.Split(err.Error(), "\n"), "")})
}

// excerpt joins the first lines and says how many more there are.
func excerpt(lines []string, none string) string {
	if len(lines) == 0 {
		return none
	}
	if more := len(lines) - told; more > 0 {
		lines = append(slices.Clone(lines[:told]), fmt.Sprintf("and %d more", more))
	}
	return strings.Join(lines, "\n")
}

// tellListeners tells which addresses are listened on now, and which not any more.
func (s *Server) tellListeners(old, next *state) {
	for _, l := range next.listeners {
		s.tellAddresses(l, old.listener(l.cfg.Name), Event{New: "open"})
	}
	for _, l := range old.listeners {
		s.tellAddresses(l, next.listener(l.cfg.Name), Event{Old: "open", New: "closed"})
	}
}

// tellAddresses tells e of the addresses that l has and the other one, which may be nil,
// has not.
func (s *Server) tellAddresses(l, other *listener, e Event) {
	for _, b := range l.bound {
		if !slices.Contains(other.holds(b.from), b) {
			e.Kind, e.Listener, e.Pool, e.Reason = EventListener, l.cfg.Name, l.cfg.Pool, b.address()
			s.publish(e)
		}
	}
}

// tellShut tells that when_down closed or opened a door.
func (s *Server) tellShut(l *listener, shut bool) {
	e := Event{Kind: EventListener, Listener: l.cfg.Name, Pool: l.cfg.Pool, Old: "open", New: "shut", Reason: "pool " + l.cfg.Pool + " has no usable backend"}
	if !shut {
		e.Old, e.New, e.Reason = "shut", "open", "pool "+l.cfg.Pool+" has a usable backend"
	}
	s.publish(e)
}

// tellSettings tells what a person changed of a backend that was like was.
func (s *Server) tellSettings(pool string, was *balancer.State, set Settings) {
	e := Event{Pool: pool, Backend: was.Name}
	if set.Mode != nil && *set.Mode != was.Mode {
		e.Kind, e.Old, e.New = EventMode, was.Mode.String(), set.Mode.String()
		s.publish(e)
	}
	e.Kind = EventOverride
	for _, n := range []struct {
		name string
		old  int
		set  *int
	}{{"weight", was.Weight, set.Weight}, {"max_connections", was.MaxConnections, set.MaxConnections}} {
		if n.set != nil && *n.set != n.old {
			e.Old, e.New, e.Reason = strconv.Itoa(n.old), strconv.Itoa(*n.set), n.name
			s.publish(e)
		}
	}
}

// tellTaken tells which backends that were added by hand are the file's now.
func (s *Server) tellTaken(taken []addition) {
	for _, a := range taken {
		s.publish(Event{
			Kind: EventOverride, Pool: a.pool, Backend: a.backend.Name, Old: "added", New: "file",
			Reason: a.backend.Address.String(),
		})
		s.log.Info().Str("pool", a.pool).Str("backend", a.backend.Name).Str("address", a.backend.Address.String()).
			Msg("override ends: the file has the backend that was added")
	}
}

// tellReset tells that these overrides are no more.
func (s *Server) tellReset(was []*Override) {
	s.publish(Event{Kind: EventOverride, New: "reset"})
	for _, o := range was {
		if o.Mode != balancer.Ready && !o.Added {
			s.publish(Event{
				Kind: EventMode, Pool: o.Pool, Backend: o.Backend,
				Old: o.Mode.String(), New: balancer.Ready.String(), Reason: "overrides reset",
			})
		}
	}
}
