package admin

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/limeload/limeload/pkg/admin/dashboard"
	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/server"
)

// Options of the API.
type Options struct {
	Version string
	// ConfigFile is where the configuration came from; empty for flags alone.
	ConfigFile string
	// TokenFile holds the bearer token; empty asks for none.
	TokenFile string
	// Listen is what the configuration says of where the API listens: the host that it
	// names may be asked for. It may be the zero value.
	Listen config.AdminListen
	// Hosts are further names of hosts that may be asked for.
	Hosts []config.HostName
	// Reload reads the configuration again and applies it as r says.
	Reload func(ctx context.Context, r server.Reload) ([]config.Change, error)
	// Metrics serves /metrics.
	Metrics http.Handler
}

// api is the handler's state.
type api struct {
	s       *server.Server
	o       Options
	started time.Time
	ping    time.Duration // between the comments in a stream of events
	streams atomic.Int32  // of events that are open
}

// Handler is the API of s; local tells that only this machine's users can reach it
// through a unix socket, where requests carry no host that could be forged.
func Handler(s *server.Server, o Options, local bool) (http.Handler, error) {
	token, err := readToken(o.TokenFile)
	if err != nil {
		return nil, err
	}
	a := &api{s: s, o: o, started: time.Now(), ping: pingEvery}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/docs", docs(a.register(mux)))
	mux.HandleFunc("GET /healthz", a.healthz)
	mux.HandleFunc("GET /readyz", a.readyz)
	if o.Metrics != nil {
		mux.Handle("GET /metrics", o.Metrics)
	}
	mux.Handle("GET /{$}", dashboard.Handler())
	mux.Handle("GET "+dashboard.Prefix, dashboard.Handler())
	return guard(token, newHostList(o.Listen, o.Hosts, local), explained(mux)), nil
}

// Serve answers requests on ln until ctx ends, then ends streams of events and lets the
// requests under way end for a moment. There are at most so many connections: see crowd.
// What net/http has to say of requests (a handler that panicked, an answer to somebody who
// left) goes to remarks, a line at a time.
func Serve(ctx context.Context, ln net.Listener, h http.Handler, connections int, remarks io.Writer) error {
	return serve(ctx, newCrowd(ln, connections), &http.Server{
		Handler:           answering(h),
		ConnContext:       withGuest,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          log.New(remarks, "", 0),
	})
}

func serve(ctx context.Context, ln net.Listener, s *http.Server) error {
	s.BaseContext = func(net.Listener) context.Context {
		return context.WithValue(context.Background(), stoppingKey{}, ctx.Done())
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if s.Shutdown(grace) != nil {
			s.Close()
		}
	}()
	if err := s.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	<-stopped
	return nil
}

// stoppingKey is where the context of a request has the channel of stopping.
type stoppingKey struct{}

// stopping is closed when Serve ends: for answers that would go on without end. The
// context of a request is no help there, as it lets the others finish.
func stopping(r *http.Request) <-chan struct{} {
	stop, _ := r.Context().Value(stoppingKey{}).(<-chan struct{})
	return stop // nil, which is never closed, under another server
}
