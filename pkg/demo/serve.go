package demo

import (
	"context"
	"io"
	"net"
	"net/netip"

	"github.com/limeload/limeload/pkg/admin"
	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/metrics"
	"github.com/limeload/limeload/pkg/server"
	"github.com/rs/zerolog"
)

// Where the demo listens if the port is free; else on any.
const (
	clientAddress    = "127.0.0.1:5400"
	dashboardAddress = "127.0.0.1:5480"
)

// front is limeload with its admin API.
type front struct {
	*server.Server
	clients   string // the listener's address
	dashboard string // its URL
	stop      func() // stops everything and waits
}

func serve(backends []*backend, version string) (*front, error) {
	s, load, err := startServer(backends)
	if err != nil {
		return nil, err
	}
	stopServer := func() { s.Shutdown(context.Background()) }
	h, err := admin.Handler(s, admin.Options{
		Version: version,
		Reload: func(ctx context.Context, r server.Reload) ([]config.Change, error) {
			cfg, err := load()
			if err != nil {
				return nil, err
			}
			return s.Reload(ctx, cfg, r)
		},
		Metrics: metrics.Handler(s, metrics.Build{Version: version}),
	}, false)
	if err != nil {
		stopServer()
		return nil, err
	}
	ln, err := net.Listen("tcp", dashboardAddress)
	if err != nil {
		ln, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		stopServer()
		return nil, err
	}
	s.Reserve(ln.Addr())
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	connections := s.AdminConnections()
	go func() {
		defer close(ended)
		admin.Serve(ctx, ln, h, connections, io.Discard)
	}()
	return &front{s, s.Addr("demo").String(), "http://" + ln.Addr().String() + "/", func() {
		cancel()
		<-ended
		stopServer()
	}}, nil
}

// startServer runs limeload in front of the backends. load makes its configuration
// anew, for reloads.
func startServer(backends []*backend) (s *server.Server, load func() (*config.Config, error), err error) {
	for _, listen := range []string{clientAddress, "127.0.0.1:0"} {
		load = func() (*config.Config, error) { return configuration(listen, backends) }
		if s, err = serverOf(load); err == nil {
			return s, load, nil
		}
	}
	return nil, nil, err
}

func configuration(listen string, backends []*backend) (*config.Config, error) {
	algorithm, interval, drain := "least-connections", "500ms", "0s"
	flags := config.Flags{Listen: []string{listen}, Algorithm: &algorithm, HealthInterval: &interval, DrainTimeout: &drain}
	for _, b := range backends {
		flags.Backend = append(flags.Backend, b.addr+",name="+b.name)
	}
	cfg := config.Default()
	if err := cfg.Overlay(flags); err != nil {
		return nil, err
	}
	// The names that the dashboard shows.
	cfg.Listeners[0].Name, cfg.Listeners[0].Pool, cfg.Pools[0].Name = "demo", "limes", "limes"
	cfg.Listeners[0].Access.Deny = []netip.Prefix{netip.PrefixFrom(stranger, stranger.BitLen())}
	return cfg, cfg.Validate()
}

func serverOf(load func() (*config.Config, error)) (*server.Server, error) {
	cfg, err := load()
	if err != nil {
		return nil, err
	}
	s, err := server.New(cfg, zerolog.Nop())
	if err != nil {
		return nil, err
	}
	failed := make(chan error, 1)
	go func() { failed <- s.Run(context.Background()) }()
	select {
	case <-s.Started():
		return s, nil
	case err := <-failed:
		return nil, err
	}
}
