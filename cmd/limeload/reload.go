package main

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/server"
	"github.com/limeload/limeload/pkg/systemd"
	"github.com/limeload/limeload/pkg/watch"
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

// reload applies the configuration as it is now, or tells every problem of it. One that a
// file system keeps waiting holds up no other.
func (p *process) reload(ctx context.Context, r server.Reload) ([]config.Change, error) {
	select {
	case <-p.Started():
	case <-p.done:
		return nil, server.ErrClosed
	}
	if !r.DryRun {
		p.reloads.begin(p.manager)
		defer p.reloads.end(p.manager)
	}
	changes, err := p.readAndApply(ctx, r)
	if errors.Is(err, server.ErrClosed) { // which says nothing of the file
		p.log.Info().Str("source", r.Source).Msg("not reloaded: stopping")
		return nil, err
	}
	if err != nil && !r.DryRun {
		p.ReloadRefused(err)
		outcome := "reload failed, nothing changed"
		if errors.Is(err, server.ErrIncomplete) {
			outcome = "reload incomplete"
		}
		for line := range strings.Lines(err.Error()) {
			p.log.Error().Str("source", r.Source).Str("problem", strings.TrimSuffix(line, "\n")).Msg(outcome)
		}
	}
	return changes, err
}

// readAndApply reads the file and applies it. What was read first is not to be applied last:
// where another reload, which began to read later, was quicker, the file is read again.
func (p *process) readAndApply(ctx context.Context, r server.Reload) ([]config.Change, error) {
	for {
		r.Order = p.reading.Add(1)
		cfg, err := p.load(ctx, p.disk)
		if err == nil {
			err = p.permits(ctx, cfg)
		}
		if err != nil {
			return nil, err
		}
		changes, err := p.Reload(ctx, cfg, r)
		if !errors.Is(err, server.ErrOvertaken) {
			return changes, err
		}
	}
}

// underWay counts the reloads under way: to the service manager several are one.
type underWay struct {
	mu sync.Mutex
	n  int
}

func (u *underWay) begin(manager *systemd.Notifier) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.n++; u.n == 1 {
		manager.Reloading()
	}
}

func (u *underWay) end(manager *systemd.Notifier) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.n--; u.n == 0 {
		manager.Ready()
	}
}

// watched begins to watch the file, if that is wanted; else the answer is nil.
func (o *serving) watched() (*watch.File, error) {
	switch {
	case !o.watch:
		return nil, nil
	case o.file == "":
		return nil, usage(errors.New("--watch needs a file: -c FILE"))
	}
	f, err := watch.Open(o.file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, usage(err)
	case err != nil:
		return nil, failed(err)
	}
	return f, nil
}

// follow reloads whenever f changes, until the function that it answers is called; f
// may be nil.
func (p *process) follow(f *watch.File) (stop func()) {
	if f == nil {
		return func() {}
	}
	p.log.Info().Str("file", f.Path()).Msg("watching")
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f.Run(ctx, func() { p.reloadSoon("watch") })
	}()
	return func() {
		cancel()
		select {
		case <-ended:
			f.Close()
		case <-time.After(time.Second): // a directory of a file system that does not answer
		}
	}
}
