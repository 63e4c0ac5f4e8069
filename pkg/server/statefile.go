package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/pkg/config"
)

// The state file keeps the overrides over a restart, as JSON:
//
//	{
//	  "limeload": "overrides",
//	  "version": 1,
//	  "saved": "2026-05-04T10:00:00Z",
//	  "overrides": [
//	    {"pool": "postgres", "backend": "pg-1", "mode": "drain"},
//	    {"pool": "postgres", "backend": "pg-9", "added": {"address": "10.0.0.19:5432", "weight": 1}}
//	  ]
//	}
//
// It is written as a whole after every change, and after one that could not be written
// again every few seconds: to a file beside it, which is on the
// disk before it takes the name. So at any time there is the old one or the new one.
//
// At the start a file that is not ours stops the process, which would overwrite it.
// One that is ours but cannot be understood is kept aside under another name, and
// the process serves without it: to forget a drain is bad, to serve nobody is worse.

// saveAgainAfter is the time from a write that failed to the next attempt: a disk that has
// room again, or is mounted again, has the overrides before a person would think of them.
const saveAgainAfter = 5 * time.Second

// stateMark is what a state file begins with, so that no other is taken for one.
const stateMark = `{
  "limeload": "overrides",`

const stateVersion = 1

// maxStateFile bounds what is read, in bytes: that of 100 000 overrides.
const maxStateFile = 16 << 20

// stateFile is the file's content.
type stateFile struct {
	Limeload  string          `json:"limeload"` // "overrides"
	Version   int             `json:"version"`
	Saved     time.Time       `json:"saved"`
	Overrides []savedOverride `json:"overrides"`
}

type savedOverride struct {
	Pool           string        `json:"pool"`
	Backend        string        `json:"backend"`
	Mode           string        `json:"mode,omitempty"` // without it: ready
	Weight         *int          `json:"weight,omitempty"`
	MaxConnections *int          `json:"max_connections,omitempty"`
	Removed        bool          `json:"removed,omitempty"`
	Added          *savedBackend `json:"added,omitempty"`
}

// savedBackend is a backend as it was added; later changes are in its savedOverride.
type savedBackend struct {
	Address        string `json:"address"`
	Weight         int    `json:"weight"`
	MaxConnections int    `json:"max_connections,omitempty"`
	Backup         bool   `json:"backup,omitempty"`
}

// recall reads the state file of the configuration that is about to start, if it has
// one. The error is a file that cannot be read, or is not ours. Run saves what the
// file lacks afterwards, so that one that cannot be written shows at the first start.
func (s *Server) recall() error {
	path := s.start.Admin.StateFile
	if path == "" {
		return nil
	}
	s.saved = &overrides{}
	data, err := readState(path)
	if err != nil {
		return fmt.Errorf("admin.state_file: %w", err)
	}
	o, err := parseState(data)
	if err != nil {
		s.keepAside(path, err)
		return nil
	}
	saved := o
	o, taken := o.yield(s.file)
	if err := validTogether(o.over(s.file)); err != nil {
		// The file has changed meanwhile. Modes and weights are good with any file.
		s.keepAside(path, fmt.Errorf("backends that were added or removed do not go with the configuration: %w", err))
		s.overrides = o.settings()
		return nil
	}
	s.overrides = o
	if len(data) > 0 {
		s.saved = saved
	}
	s.log.Info().Str("file", path).Int("overrides", len(o.rows)).Msg("overrides recalled")
	s.tellTaken(taken)
	return nil
}

// readState answers the content of a state file, nothing if there is none.
func readState(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxStateFile+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) > maxStateFile:
		return nil, fmt.Errorf("%s is larger than %d MiB: it is no state file of limeload, and is left alone", path, maxStateFile>>20)
	case len(data) > 0 && !bytes.HasPrefix(data, []byte(stateMark)):
		return nil, fmt.Errorf("%s is no state file of limeload, and is left alone: name another one", path)
	}
	return data, nil
}

// parseState answers the overrides in a state file; an empty one has none.
func parseState(data []byte) (*overrides, error) {
	o := &overrides{}
	if len(data) == 0 {
		return o, nil
	}
	var f stateFile
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	err := d.Decode(&f)
	switch {
	case f.Version > stateVersion:
		return nil, fmt.Errorf("it has version %d; this limeload reads %d", f.Version, stateVersion)
	case err != nil:
		return nil, fmt.Errorf("byte %d: %w", d.InputOffset(), err)
	case f.Version != stateVersion:
		return nil, fmt.Errorf("it has version %d; want %d", f.Version, stateVersion)
	}
	for i, row := range f.Overrides {
		if err := row.addTo(o); err != nil {
			return nil, fmt.Errorf("overrides[%d]: backend %q of pool %q: %w", i, row.Backend, row.Pool, err)
		}
	}
	return o, nil
}

func (r *savedOverride) addTo(o *overrides) error {
	mode, ok := modeOf(r.Mode)
	switch {
	case r.Pool == "" || r.Backend == "":
		return errors.New("want the names of both")
	case !ok:
		return fmt.Errorf("unknown mode %q", r.Mode)
	case r.Weight != nil && (*r.Weight < 0 || *r.Weight > config.MaxWeight):
		return fmt.Errorf("weight %d is out of range 0..%d", *r.Weight, config.MaxWeight)
	case r.MaxConnections != nil && (*r.MaxConnections < 0 || *r.MaxConnections > config.MaxConnections):
		return fmt.Errorf("max_connections %d is out of range 0..%d", *r.MaxConnections, config.MaxConnections)
	case o.find(r.Pool, r.Backend) != nil:
		return errors.New("is there twice")
	case r.Added != nil:
		b, err := r.Added.backend(r.Backend)
		if err != nil {
			return err
		}
		o.added = append(o.added, addition{r.Pool, b})
	}
	o.put(&Override{
		Pool: r.Pool, Backend: r.Backend, Mode: mode, Weight: r.Weight,
		MaxConnections: r.MaxConnections, Added: r.Added != nil, Removed: r.Removed,
	})
	return nil
}

func (b *savedBackend) backend(name string) (config.Backend, error) {
	a, err := config.ParseAddress(b.Address)
	if err != nil {
		return config.Backend{}, fmt.Errorf("address: %w", err)
	}
	c := config.DefaultBackend()
	c.Name, c.Address, c.Weight, c.MaxConnections, c.Backup = name, a, b.Weight, b.MaxConnections, b.Backup
	return c, nil
}

func modeOf(word string) (balancer.Mode, bool) {
	for _, m := range []balancer.Mode{balancer.Ready, balancer.Drain, balancer.Maintenance} {
		if word == m.String() || word == "" {
			return m, true
		}
	}
	return 0, false
}

// keepAside renames a state file that cannot be used as it is, so that the next save
// does not overwrite what a person may still want to read.
func (s *Server) keepAside(path string, why error) {
	aside := path + ".unused-" + time.Now().UTC().Format("20060102T150405.000000000")
	err := os.Rename(path, aside)
	if err != nil {
		aside = ""
		s.saved = nil // not over it
	}
	s.log.Error().Str("file", path).AnErr("problem", why).Str("kept", aside).AnErr("rename", err).Msg("overrides not recalled")
}

// save writes the overrides to the state file if it does not have them. What cannot
// be written is in effect all the same: an operator who drains a server while the
// disk is full means it. Overrides shows what is persisted. It holds s.applying only to
// look: to wait for a disk is for whoever made the change alone.
func (s *Server) save() {
	path := s.start.Admin.StateFile
	if path == "" {
		return
	}
	s.saving.Lock()
	defer s.saving.Unlock()
	s.applying.Lock()
	o, saved := s.overrides, s.saved
	s.applying.Unlock()
	if saved == nil || saved == o {
		return
	}
	err := writeState(path, o)
	s.tellSaved(path, err)
	if err != nil {
		select {
		case s.unsaved <- struct{}{}:
		default: // it is tried again anyway
		}
		return
	}
	s.applying.Lock()
	s.saved = o
	s.applying.Unlock()
}

// tellSaved tells the first failure of a row, and its end. needs saving.
func (s *Server) tellSaved(path string, err error) {
	switch was := s.saveFails; {
	case err != nil && !was:
		s.log.Error().Str("file", path).Err(err).Float64("again_after", s.saveAgainAfter.Seconds()).Msg("overrides not saved")
	case err == nil && was:
		s.log.Info().Str("file", path).Msg("overrides saved again")
	}
	s.saveFails = err != nil
}

// saveAgain saves what could not be saved, again and again until it could; and one last
// time when the server ends.
func (s *Server) saveAgain() {
	for s.ctx.Err() == nil {
		select {
		case <-s.unsaved:
			select {
			case <-time.After(s.saveAgainAfter):
			case <-s.ctx.Done():
			}
			s.save()
		case <-s.ctx.Done():
			if len(s.unsaved) > 0 {
				s.save()
			}
		}
	}
}

// writeState replaces the state file: there is always a whole one, and after a loss
// of power it is the old or the new one (rename(2), fsync(2)).
func writeState(path string, o *overrides) error {
	data, err := json.MarshalIndent(newStateFile(o), "", "  ")
	if err != nil {
		return err
	}
	temp := path + ".new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		os.Remove(temp)
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir brings the names in a directory to the disk.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func newStateFile(o *overrides) *stateFile {
	f := &stateFile{Limeload: "overrides", Version: stateVersion, Saved: time.Now().UTC(), Overrides: []savedOverride{}}
	for _, r := range o.rows {
		row := savedOverride{
			Pool: r.Pool, Backend: r.Backend, Weight: r.Weight, MaxConnections: r.MaxConnections, Removed: r.Removed,
		}
		if r.Mode != balancer.Ready {
			row.Mode = r.Mode.String()
		}
		if i := slices.IndexFunc(o.added, func(a addition) bool { return a.at() == r.at() }); i >= 0 {
			b := o.added[i].backend
			row.Added = &savedBackend{b.Address.String(), b.Weight, b.MaxConnections, b.Backup}
		}
		f.Overrides = append(f.Overrides, row)
	}
	return f
}
