package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"time"

	"github.com/limeload/limeload/pkg/access"
	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/disk"
)

// listsEvery is how often the files of access lists are looked at. A file that has
// changed is read when it looks the same twice in a row, so that one that is being
// written is not read half.
const listsEvery = time.Second

// accessList is the access list of a listener, as it was read.
type accessList struct {
	*access.List
	from   access.Source // what the configuration itself says
	deny   bool          // those whom no rule matches
	config config.Access
	files  []os.FileInfo // as they were before they were read

	// Only watchLists uses these.
	seen   []os.FileInfo // at the last look
	failed []os.FileInfo // as they were when reading them failed
}

// newAccessList is the list of listener i of cfg, whose files are not read yet.
func newAccessList(cfg *config.Config, i int) *accessList {
	c := &cfg.Listeners[i].Access
	return &accessList{config: *c, deny: c.DenyOthers(), from: inlineRules(cfg, i)}
}

// readInstead reads a, unless that is instead, which may be nil, and was read already. The
// error tells the file and the line.
func (a *accessList) readInstead(ctx context.Context, d *disk.Disk, instead *accessList) (*accessList, error) {
	a.files = a.look(ctx, d)
	if instead.equal(a) {
		return instead, nil
	}
	if err := a.read(ctx, d); err != nil {
		return nil, err
	}
	return a, nil
}

// CheckAccess reads the files of all access lists and answers every problem of them,
// a line each.
func CheckAccess(cfg *config.Config) error {
	var d disk.Disk
	var wrong []error
	for i := range cfg.Listeners {
		if _, err := newAccessList(cfg, i).readInstead(context.Background(), &d, nil); err != nil {
			wrong = append(wrong, err)
		}
	}
	return errors.Join(wrong...)
}

// inlineRules are those that are written in the configuration.
func inlineRules(cfg *config.Config, i int) access.Source {
	c := &cfg.Listeners[i].Access
	var from access.Source
	for n, p := range c.Deny {
		file, line := cfg.Where(fmt.Sprintf("listener[%d].access.deny[%d]", i, n))
		from.Name, from.Rules = file, append(from.Rules, access.Rule{Prefix: p, Deny: true, Line: line})
	}
	for n, p := range c.Allow {
		file, line := cfg.Where(fmt.Sprintf("listener[%d].access.allow[%d]", i, n))
		from.Name, from.Rules = file, append(from.Rules, access.Rule{Prefix: p, Line: line})
	}
	return from
}

// paths are the files, those that deny first.
func (a *accessList) paths() []string {
	return append(append([]string{}, a.config.DenyFiles...), a.config.AllowFiles...)
}

// look asks the system about the files; nil for one that is not there.
func (a *accessList) look(ctx context.Context, d *disk.Disk) []os.FileInfo {
	var all []os.FileInfo
	for _, path := range a.paths() {
		info, err := d.Stat(ctx, path)
		if err != nil {
			info = nil
		}
		all = append(all, info)
	}
	return all
}

// read reads all files, or none: the list stays what it was if there is an error.
func (a *accessList) read(ctx context.Context, d *disk.Disk) error {
	sources := []access.Source{a.from}
	var wrong []error
	for n, path := range a.paths() {
		listed, err := readPrefixes(ctx, d, path)
		if err != nil {
			var lines config.Problems // which name the file
			if !errors.As(err, &lines) {
				err = fmt.Errorf("access list: %w", err)
			}
			wrong = append(wrong, err)
			continue
		}
		s := access.Source{Name: path, Rules: make([]access.Rule, len(listed))}
		for i, p := range listed {
			s.Rules[i] = access.Rule{Prefix: p.Prefix, Deny: n < len(a.config.DenyFiles), Line: p.Line}
		}
		sources = append(sources, s)
	}
	if wrong != nil {
		return errors.Join(wrong...)
	}
	a.List = access.New(a.deny, sources...)
	return nil
}

func readPrefixes(ctx context.Context, d *disk.Disk, path string) ([]config.ListedPrefix, error) {
	data, err := readFile(ctx, d, path, maxListSize)
	if err != nil {
		return nil, err
	}
	return config.ParsePrefixes(path, data)
}

// equal reports whether a, which may be nil, was read from the same as b will be.
func (a *accessList) equal(b *accessList) bool {
	return a != nil && reflect.DeepEqual(a.config, b.config) && reflect.DeepEqual(a.from, b.from) && sameFiles(a.files, b.files)
}

// sameFiles reports whether files look as if nobody had touched them. One that cannot
// be asked about is never the same.
func sameFiles(a, b []os.FileInfo) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] == nil || b[i] == nil || a[i].Size() != b[i].Size() || !a[i].ModTime().Equal(b[i].ModTime()) || !os.SameFile(a[i], b[i]) {
			return false
		}
	}
	return true
}

// watchLists reads the files of access lists again when they change, until ctx ends.
func (s *Server) watchLists(ctx context.Context) {
	select {
	case <-s.started: // until then they are being read for the first time
	case <-ctx.Done():
		return
	}
	tick := time.NewTicker(listsEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.refreshLists(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// refreshLists reads what has changed without applying: to wait for a disk, or for a
// million networks, is not for a person's drain, a reload or the end of the process.
func (s *Server) refreshLists(ctx context.Context) {
	for name, a := range s.lists() {
		if a.due(ctx, &s.disk) && ctx.Err() == nil {
			s.refreshList(ctx, name, a)
		}
	}
}

// lists are the lists in force, by the names of their listeners.
func (s *Server) lists() map[string]*accessList {
	s.applying.Lock()
	defer s.applying.Unlock()
	all := map[string]*accessList{}
	for _, l := range s.state.Load().listeners {
		if l.access != nil {
			all[l.cfg.Name] = l.access
		}
	}
	return all
}

// due reports whether the files have changed, and look the same as last time.
func (a *accessList) due(ctx context.Context, d *disk.Disk) bool {
	now := a.look(ctx, d)
	settled := sameFiles(now, a.seen) || missing(now) && missing(a.seen)
	a.seen = now
	return settled && !sameFiles(now, a.files) && !(a.failed != nil && (sameFiles(now, a.failed) || missing(now) && missing(a.failed)))
}

// missing reports whether one of the files is not there.
func missing(files []os.FileInfo) bool {
	for _, f := range files {
		if f == nil {
			return true
		}
	}
	return false
}

// refreshList reads the files of a listener's list anew. A file with an error changes
// nothing.
func (s *Server) refreshList(ctx context.Context, listener string, was *accessList) {
	next := *was
	next.files, next.failed = next.seen, nil
	err := next.read(ctx, &s.disk)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		was.failed = next.files
		s.publish(Event{Kind: EventReload, Listener: listener, Reason: "access list not changed: " + err.Error()})
		s.log.Error().Str("listener", listener).Err(err).Msg("access list not changed")
		return
	}
	s.applying.Lock()
	defer s.applying.Unlock()
	st := s.state.Load()
	l := st.listener(listener)
	if l == nil || l.access != was {
		return // a reload came meanwhile, and has read what it needs
	}
	l.access = &next
	l.front.Configure(s.conf(st, l))
	s.publish(Event{
		Kind: EventReload, Listener: listener, Old: fmt.Sprint(was.Len()), New: fmt.Sprint(next.Len()),
		Reason: "access list changed: number of networks",
	})
	s.log.Info().Str("listener", listener).Int("old", was.Len()).Int("new", next.Len()).Msg("access list changed")
}
