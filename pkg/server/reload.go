package server

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/limeload/limeload/pkg/config"
)

// Reload is how a configuration is applied, beyond what it says. The zero value
// applies it and keeps the overrides.
type Reload struct {
	// Source is who asked, for the log: "signal", "api", "watch"; empty if it was
	// the program itself.
	Source string

	// Order is when the configuration was read, as a number that grows from one reading
	// to the next; 0 where nobody else may be applying another one meanwhile. What was
	// read before a configuration that has been applied is not applied after it: that is
	// ErrOvertaken.
	Order uint64

	// DryRun only answers what would change, or the problems of the configuration and of the
	// files that it names. New addresses are not bound, so that an address which another
	// process holds does not show.
	DryRun bool

	// ResetOverrides goes back to what the configuration says in the same step.
	ResetOverrides bool
}

// ErrOvertaken is the error of a Reload whose configuration was read before the one that
// runs. Nothing was changed.
var ErrOvertaken = errors.New("a configuration that was read later runs already")

// Apply is Reload that keeps the overrides.
func (s *Server) Apply(ctx context.Context, cfg *config.Config) ([]config.Change, error) {
	return s.Reload(ctx, cfg, Reload{})
}

// Reload makes the running server what cfg says, which must be valid and is not
// changed afterwards; or it changes nothing and answers an error.
//
// A listener that stays keeps its sockets and what the kernel has queued in them; a
// backend that stays keeps health, counts and sessions; one that was removed gets no
// new sessions, and those it has are cut after drain_timeout.
//
// Only what differs from the file of before is changed: overrides lie over the new
// one as they did over the old one. The answer lists the differences, those without
// effect too, and says of each what it waits for.
//
// The error is ErrClosed or ErrOvertaken; or that of ctx, before the start; or config.Problems, where cfg and the overrides do not go
// together; or that of an address that cannot be bound. Only with ErrIncomplete was
// something changed, and the differences are answered as well.
func (s *Server) Reload(ctx context.Context, cfg *config.Config, r Reload) (changes []config.Change, err error) {
	began := time.Now()
	if err := s.awaitStart(ctx); err != nil {
		return nil, err
	}
	err = s.step(ctx, func(k *known) (err error) {
		k.anew = true
		changes, err = s.reload(cfg, r, k, began)
		return err
	})
	return changes, err
}

// reload is the step of a Reload that began at that time. needs s.applying.
func (s *Server) reload(cfg *config.Config, r Reload, k *known, began time.Time) ([]config.Change, error) {
	if s.stopping.Load() {
		return nil, ErrClosed
	}
	if r.Order != 0 && r.Order < s.order && !r.DryRun {
		return nil, ErrOvertaken
	}
	old, was := s.state.Load(), s.overrides
	next, err := s.plan(old.cfg, cfg, r.ResetOverrides)
	if err == nil && r.DryRun {
		err = s.filesFor(old, next.effective, k)
	}
	if err != nil || r.DryRun {
		return next.changes, err
	}
	next.known = k
	if err = s.adopt(old, next); err != nil && !errors.Is(err, ErrIncomplete) {
		return nil, err
	}
	s.order = max(s.order, r.Order)
	for _, c := range next.changes {
		s.logChange(c)
	}
	if r.ResetOverrides {
		s.tellReset(was.rows)
	}
	s.tellTaken(next.taken)
	if err != nil {
		return next.changes, err
	}
	s.tellReloaded(next.changes)
	s.logReloaded(config.TallyOf(next.changes), r.Source, time.Since(began))
	return next.changes, nil
}

// logReloaded tells apart what took effect and what did not.
func (s *Server) logReloaded(t config.Tally, source string, took time.Duration) {
	line := s.log.Info().Str("source", source).Int("changes", t.Made)
	if len(t.Restart) > 0 {
		line.Strs("restart", t.Restart)
	}
	if t.Overridden > 0 {
		line.Int("overridden", t.Overridden)
	}
	line.Float64("duration", took.Seconds()).Msg("reloaded")
}

// plan is what a reload is going to do.
type plan struct {
	file      *config.Config // with what cannot change as it runs
	overrides *overrides
	effective *config.Config // file under the overrides
	taken     []addition     // that the file has by now
	changes   []config.Change
	known     *known // from others
}

// plan compares what runs with what cfg asks for.
func (s *Server) plan(running, cfg *config.Config, reset bool) (plan, error) {
	var p plan
	var fixed []config.Change
	p.file, fixed = keepFixed(running, cfg)
	if p.overrides, p.taken = s.overrides.yield(p.file); reset {
		p.overrides, p.taken = &overrides{}, nil
	}
	p.effective = p.overrides.over(p.file)
	if p.effective != p.file {
		if err := validTogether(p.effective); err != nil {
			return plan{}, err
		}
	}
	p.changes = config.Diff(running, p.effective)
	if reset {
		p.changes = append(p.changes, s.overrides.modesReset(p.file)...)
	}
	if p.effective != p.file {
		p.changes = append(p.changes, overridden(p.changes, config.Diff(s.file, p.file))...)
	}
	p.changes = append(p.changes, fixed...)
	return p, nil
}

// adopt makes a plan what runs. needs s.applying.
func (s *Server) adopt(old *state, p plan) error {
	before := s.overrides
	s.overrides = p.overrides // which the specs of backends are made from
	err := s.apply(old, p.effective, p.known)
	if err != nil && !errors.Is(err, ErrIncomplete) {
		s.overrides = before
		return err
	}
	s.file = p.file
	return err
}

// keepFixed answers cfg with the parts of the running configuration that cannot
// change, and how they differ.
func keepFixed(running, cfg *config.Config) (*config.Config, []config.Change) {
	kept := *cfg
	kept.Engine, kept.Admin, kept.Process = running.Engine, running.Admin, running.Process
	kept.Log.Level, kept.Log.Format = running.Log.Level, running.Log.Format
	kept.Limits.SourceEntries = running.Limits.SourceEntries
	fixed := config.Diff(&kept, cfg)
	for i := range fixed {
		fixed[i].Restart = true
	}
	return &kept, fixed
}

// overridden picks the differences between two files that make none in what runs.
func overridden(running, file []config.Change) (masked []config.Change) {
	for _, c := range file {
		if !slices.ContainsFunc(running, func(r config.Change) bool { return r.Path == c.Path }) {
			c.Overridden = true
			masked = append(masked, c)
		}
	}
	return masked
}

// validTogether checks a file under overrides. Its problems have no place in the
// file: without the overrides it would be good.
func validTogether(c *config.Config) error {
	err := c.Validate()
	var problems config.Problems
	if !errors.As(err, &problems) {
		return err
	}
	unplaced := make(config.Problems, len(problems))
	for i, p := range problems {
		unplaced[i] = config.Problem{Path: p.Path, Text: p.Text + " (under the overrides)"}
	}
	return unplaced
}

func (s *Server) logChange(c config.Change) {
	switch {
	case c.Restart:
		s.log.Warn().Str("key", c.Path).Str("running", c.Old).Str("file", c.New).Msg("needs a restart")
	case c.Overridden:
		s.log.Info().Str("key", c.Path).Str("old", c.Old).Str("new", c.New).Msg("changed in the file, but overridden")
	default:
		s.log.Info().Str("key", c.Path).Str("old", c.Old).Str("new", c.New).Msg("changed")
	}
}
