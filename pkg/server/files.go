package server

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/disk"
)

const (
	// maxListSize bounds what is read of the file of an access list, in bytes: ten million
	// networks.
	maxListSize = 512 << 20
	// maxAuthoritiesSize bounds what is read of a file of certificates, in bytes: a system's
	// whole store takes a fortieth.
	maxAuthoritiesSize = 8 << 20
)

// contents are what was read of the files that a configuration names.
type contents struct {
	lists       map[string]readList        // by listener
	authorities map[string]readAuthorities // by file
}

// readList is what became of an access list that is to take the place of another one.
type readList struct {
	instead *accessList // which may be nil
	list    *accessList // instead itself, if that is the same
	err     error
}

// readAuthorities is what became of a file of certificates.
type readAuthorities struct {
	pool *x509.CertPool
	err  error
}

// authority answers what was read of a file of certificates.
func (c *contents) authority(file string) (*x509.CertPool, error) {
	r, ok := c.authorities[file]
	if !ok {
		return nil, fmt.Errorf("read %s: nobody did", file) // filesFor asks for all
	}
	return r.pool, r.err
}

// filesFor sees to the files of a change from old to cfg. The error is *unasked where k
// lacks some, or else tells every problem of those that were read: of access lists, and of
// certificates that no file of before stands in for.
//
// Only a new configuration has its files read anew. Where a person changes something beside
// it, what was read before is as good, and nobody has to mend a file before they can drain a
// backend.
func (s *Server) filesFor(old *state, cfg *config.Config, k *known) error {
	missing := &unasked{}
	var wrong config.Problems
	for i := range cfg.Listeners {
		c := &cfg.Listeners[i]
		was := old.listener(c.Name)
		if c.Access.IsZero() || was.is(c) {
			continue
		}
		r, ok := k.files.lists[c.Name]
		if instead := was.list(); !ok || r.instead != instead {
			missing.lists = append(missing.lists, wantedList{c.Name, instead, newAccessList(cfg, i)})
		}
		wrong = append(wrong, problemsOf(r.err)...)
	}
	for _, a := range authoritiesOf(cfg) {
		before := s.probers.authorities[a.file]
		if !k.anew && before != nil {
			continue
		}
		r, ok := k.files.authorities[a.file]
		switch {
		case !ok:
			missing.authorities = append(missing.authorities, a.file)
		case r.err != nil && before == nil:
			wrong = append(wrong, a.problem(cfg, r.err))
		}
	}
	switch {
	case len(missing.lists)+len(missing.authorities) > 0:
		return missing
	case wrong != nil:
		return wrong
	}
	return nil
}

// problemsOf takes an error apart, so that whoever shows it shows all that it joins.
func problemsOf(err error) (all config.Problems) {
	switch e := err.(type) {
	case nil:
	case config.Problems:
		all = e
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			all = append(all, problemsOf(err)...)
		}
	default:
		all = config.Problems{{Text: err.Error()}}
	}
	return all
}

// list is the access list of l, which may be nil.
func (l *listener) list() *accessList {
	if l == nil {
		return nil
	}
	return l.access
}

// wantedList is an access list that is to be read.
type wantedList struct {
	listener string
	instead  *accessList
	list     *accessList // what the configuration says of it
}

// readFiles adds to k what becomes of the files that were missed.
func (s *Server) readFiles(ctx context.Context, missing *unasked, k *known) {
	for i, r := range allOf(missing.lists, func(w wantedList) readList {
		list, err := w.list.readInstead(ctx, &s.disk, w.instead)
		return readList{w.instead, list, err}
	}) {
		k.files.lists[missing.lists[i].listener] = r
	}
	for i, r := range allOf(missing.authorities, func(file string) readAuthorities {
		pool, err := loadAuthorities(ctx, &s.disk, file)
		return readAuthorities{pool, err}
	}) {
		k.files.authorities[missing.authorities[i]] = r
	}
}

// allOf does f for all of the work, side by side, and answers the results in its order.
func allOf[W, R any](work []W, f func(W) R) []R {
	results := make([]R, len(work))
	numbers := make([]int, len(work))
	for i := range numbers {
		numbers[i] = i
	}
	sideBySide(numbers, func(i int) { results[i] = f(work[i]) })
	return results
}

// readFile reads a file that a configuration names, of at most max bytes. A named pipe is
// an error: to open one waits for who writes into it, and what was read once is not there
// the next time.
func readFile(ctx context.Context, d *disk.Disk, path string, max int64) ([]byte, error) {
	info, err := d.Stat(ctx, path)
	switch {
	case err == nil && info.Mode()&os.ModeNamedPipe != 0:
		return nil, fmt.Errorf("open %s: is a named pipe; want a file", path)
	case err != nil && !errors.As(err, new(*os.PathError)): // no answer
		return nil, err
	}
	return d.Read(ctx, path, max)
}
