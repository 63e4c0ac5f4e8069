package main

import (
	"context"
	"fmt"
	"time"

	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/server"
	"github.com/limeload/limeload/pkg/systemd"
)

// statusEvery is how often the service manager's line about the process is brought up to
// date.
const statusEvery = 5 * time.Second

// inherit takes what the service manager handed over: its ear and its sockets. What is
// wrong with either is told, and the process runs without.
func (p *process) inherit() {
	sockets, err := systemd.Sockets()
	if err != nil {
		p.log.Warn().Err(err).Msg("inherited sockets")
	}
	all := make([]server.Socket, len(sockets))
	for i, s := range sockets {
		all[i] = server.Socket(s)
	}
	p.Inherit(all)
	if p.manager, err = systemd.NewNotifier(); err != nil {
		p.log.Warn().Err(err).Msg("no service manager to notify")
	}
}

// report keeps the service manager informed, from when every listener accepts until the
// process ends.
func (p *process) report() {
	if p.manager == nil {
		return
	}
	select {
	case <-p.Started():
	case <-p.done:
		return
	}
	p.manager.Status(p.status())
	p.manager.Ready()
	go p.reportLife()
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	for last := ""; ; {
		select {
		case <-tick.C:
		case <-p.done:
			return
		}
		if now := p.status(); now != last {
			p.manager.Status(now)
			last = now
		}
	}
}

// status is a line such as "12 sessions, 3 of 4 backends usable".
func (p *process) status() string {
	b := p.Brief()
	return fmt.Sprintf("%d sessions, %d of %d backends usable", b.Sessions, b.Usable, b.Backends)
}

// reportLife tells the manager's watchdog that the process is alive, each time that all
// loops have shown that they go round: three times in the span that the watchdog waits.
// A loop that is stuck ends that, and the manager its patience.
func (p *process) reportLife() {
	every := p.manager.Watchdog / 3
	if every <= 0 {
		return
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		ctx, cancel := context.WithTimeout(context.Background(), every)
		err := p.Alive(ctx)
		cancel()
		if err == nil {
			p.manager.Alive()
		} else {
			p.log.Error().Err(err).Dur("watchdog", p.manager.Watchdog).Msg("a loop is stuck")
		}
		select {
		case <-tick.C:
		case <-p.done:
			return
		}
	}
}

// reportStop tells how long the end may take by the configuration that is in force.
func (p *process) reportStop() {
	const spare = 10 * time.Second // for what comes after the sessions
	c := p.shutdownConf()
	p.manager.Stopping(c.Delay + c.DrainTimeout + spare)
}

func (p *process) shutdownConf() *config.Shutdown {
	select {
	case <-p.Started():
		return &p.Config().Shutdown
	default: // a signal during the start
		return &config.Shutdown{}
	}
}
