package server

import (
	"context"
	"fmt"
	"maps"

	"github.com/limeload/limeload/pkg/config"
)

// known is what a change has from others: name servers and file systems.
type known struct {
	names answers
	files contents
	anew  bool // the configuration is another one: its files are read, whatever was in them before
}

// unasked is the error of a change that needs the addresses of host names, or the contents
// of files, which nobody has asked for. Nothing was changed.
type unasked struct {
	hosts       map[string]bool // true: to listen on
	lists       []wantedList
	authorities []string // files of certificates
}

func (u *unasked) Error() string {
	return fmt.Sprintf("%d host names are not looked up, and %d files not read", len(u.hosts), len(u.lists)+len(u.authorities))
}

// step makes one change of what runs: try, with applying held. Host names that it needs
// are looked up meanwhile without the lock, and files are read, as a name server or a file
// system that does not answer takes seconds, and neither the end of the process nor a
// person's drain is to wait for that. What was to be done may be something else by then, so
// try is called anew and works it out again, until it knows what became of all of them.
//
// What has changed is saved afterwards, without the lock too: a disk can take as long.
func (s *Server) step(ctx context.Context, try func(k *known) error) error {
	k := &known{names: answers{}, files: contents{map[string]readList{}, map[string]readAuthorities{}}}
	for {
		err := s.locked(func() error { return try(k) })
		missing, ok := err.(*unasked) // wrapped by nobody: it is between apply and here
		if !ok {
			s.save()
			return err
		}
		if len(missing.hosts) > 0 {
			s.names.lookUp(ctx, missing.hosts, k.names)
		}
		s.readFiles(ctx, missing, k)
	}
}

func (s *Server) locked(f func() error) error {
	s.applying.Lock()
	defer s.applying.Unlock()
	return f()
}

// awaitStart waits until there is a configuration to change. The error is ErrClosed where
// there never will be, or that of ctx.
func (s *Server) awaitStart(ctx context.Context) error {
	select {
	case <-s.started:
		return nil
	case <-s.ctx.Done():
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// resolve settles the names of next's new backends. The error is *unasked where names
// does not know them all, and those that next is to listen on.
func (s *Server) resolve(old, next *state, names answers) error {
	missing := listenHosts(old, next)
	maps.DeleteFunc(missing, func(host string, _ bool) bool {
		a, ok := names[host]
		return ok && !a.late()
	})
	for _, host := range s.names.settle(names) {
		if !missing[host] { // a listener's stays one
			missing[host] = false
		}
	}
	if len(missing) > 0 {
		return &unasked{hosts: missing}
	}
	return nil
}

// listenHosts are the host names in the addresses that next binds anew, each with true.
func listenHosts(old, next *state) map[string]bool {
	hosts := map[string]bool{}
	for i := range next.cfg.Listeners {
		c := &next.cfg.Listeners[i]
		was := old.listener(c.Name)
		if was.is(c) {
			continue
		}
		for _, a := range c.Listen {
			if isName(a) && was.holds(a) == nil {
				hosts[a.Host] = true
			}
		}
	}
	return hosts
}

// isName reports whether a has to be looked up.
func isName(a config.Address) bool {
	return a.Network == config.TCP && a.Host != "" && !a.IP().IsValid()
}
