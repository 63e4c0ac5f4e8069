package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"github.com/limeload/limeload/pkg/admin"
	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/confine"
	"github.com/limeload/limeload/pkg/disk"
	"github.com/limeload/limeload/pkg/metrics"
	"github.com/limeload/limeload/pkg/server"
	"github.com/limeload/limeload/pkg/systemd"
	"github.com/rs/zerolog"
)

// process is a server that signals steer.
type process struct {
	*server.Server
	file  string // of its configuration; empty for flags alone
	log   zerolog.Logger
	flush func()
	load  func(context.Context, *disk.Disk) (*config.Config, error)
	disk  *disk.Disk    // where that reads
	done  chan struct{} // closed when it has ended

	due     chan string   // sources of reloads that nobody waits for
	reading atomic.Uint64 // how often reading the file for a reload has begun
	reloads underWay      // that the service manager knows of

	manager     *systemd.Notifier    // of the service; nil without one
	adminSocket string               // path of the admin API's unix socket; empty if it has none
	identity    confine.Identity     // whom to become
	confined    *confine.Confinement // nil: no file is out of reach
}

// obey follows signals: reloads until the first one that stops, and ends the
// process at the second of those.
func (p *process) obey(signals chan os.Signal) {
	defer signal.Stop(signals)
	for stops := 0; ; {
		var sig os.Signal
		select {
		case sig = <-signals:
		case <-p.done:
			return
		}
		p.log.Info().Str("signal", sig.String()).Msg("signal")
		switch {
		case sig == syscall.SIGHUP && stops > 0:
			p.log.Info().Str("source", "signal").Msg("not reloaded: stopping")
		case sig == syscall.SIGHUP:
			p.reloadSoon("signal")
		case stops == 0:
			stops++
			p.reportStop()
			go p.Shutdown(context.Background())
		default:
			p.log.Warn().Msg("second signal: exit at once")
			p.flush()
			os.Exit(exitFailed)
		}
	}
}

// serveAdmin opens the admin API, if it is on. The function that comes with it stops
// it and waits. The default socket is a convenience: where it cannot be had, that is
// told and the server runs without.
func (p *process) serveAdmin(c *config.Admin) (stop func(), err error) {
	ln, err := admin.Listen(c.Listen)
	if err != nil && c.Listen.Default {
		p.log.Warn().Err(err).Msg("no admin API")
		ln, err = nil, nil
	}
	if err != nil || ln == nil {
		return func() {}, err
	}
	h, err := admin.Handler(p.Server, admin.Options{
		Version: versionText(), ConfigFile: p.file, TokenFile: c.TokenFile, Listen: c.Listen, Hosts: c.Hosts, Reload: p.reload,
		Metrics: metrics.Handler(p.Server, metrics.Build{Version: versionOf(), Commit: commitOf()}),
	}, ln.Addr().Network() == "unix")
	if err != nil {
		ln.Close()
		return nil, err
	}
	if ln.Addr().Network() == "unix" {
		p.adminSocket = ln.Addr().String()
	}
	p.Reserve(ln.Addr())
	p.log.Info().Str("address", adminAddress(ln)).Msg("admin API")
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	connections := p.AdminConnections()
	go func() {
		defer close(ended)
		if err := admin.Serve(ctx, ln, h, connections, remarks{p.log}); err != nil {
			p.log.Error().Err(err).Msg("admin API")
		}
	}()
	return func() {
		cancel()
		<-ended
	}, nil
}

// remarks are what net/http says of requests: lines of the log, not beside it.
type remarks struct{ log zerolog.Logger }

// Write implements io.Writer. A client that left is no news; a panic is.
func (r remarks) Write(line []byte) (int, error) {
	e := r.log.Debug()
	if bytes.Contains(line, []byte("panic")) {
		e = r.log.Error()
	}
	e.Str("error", string(bytes.TrimSpace(line))).Msg("admin API request")
	return len(line), nil
}

func adminAddress(ln net.Listener) string {
	if ln.Addr().Network() == "unix" {
		return "unix:" + ln.Addr().String()
	}
	return "http://" + ln.Addr().String()
}
