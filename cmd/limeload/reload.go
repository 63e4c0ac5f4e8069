package main

import (
	"context"
	"strings"

	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/server"
)

// reloadSoon asks for a reload and does not wait for it. One that is due already
// will read the file as it is then, so it is enough for both.
func (p *process) reloadSoon(source string) {
	select {
	case p.due <- source:
	default:
	}
}

// reloadWhenDue makes the reloads that were asked for, until the process ends.
func (p *process) reloadWhenDue() {
	for {
		select {
		case source := <-p.due:
			p.reload(context.Background(), server.Reload{Source: source})
		case <-p.done:
			return
		}
	}
}

// reload applies the configuration as it is now, or tells every problem of it. One
// reload at a time reads the file and applies it: what was read first must not be
// applied last.
func (p *process) reload(ctx context.Context, r server.Reload) ([]config.Change, error) {
	select {
	case <-p.Started():
	case <-p.done:
		return nil, server.ErrClosed
	}
	p.reloading.Lock()
	defer p.reloading.Unlock()
	cfg, err := p.load()
	var changes []config.Change
	if err == nil {
		changes, err = p.Reload(ctx, cfg, r)
	}
	if err != nil && !r.DryRun {
		for line := range strings.Lines(err.Error()) {
			p.log.Error().Str("source", r.Source).Str("problem", strings.TrimSuffix(line, "\n")).Msg("reload failed, nothing changed")
		}
	}
	return changes, err
}
