package admin

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/server"
)

// Options of the API.
type Options struct {
	Version string
	// TokenFile holds the bearer token; empty asks for none.
	TokenFile string
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
}

// Handler is the API of s; local tells that only this machine's users can reach it
// through a unix socket, where requests carry no host that could be forged.
func Handler(s *server.Server, o Options, local bool) (http.Handler, error) {
	token, err := readToken(o.TokenFile)
	if err != nil {
		return nil, err
	}
	a := &api{s: s, o: o, started: time.Now()}
	mux := http.NewServeMux()
	a.register(mux)
	mux.HandleFunc("GET /healthz", a.healthz)
	mux.HandleFunc("GET /readyz", a.readyz)
	if o.Metrics != nil {
		mux.Handle("GET /metrics", o.Metrics)
	}
	return guard(token, local, explained(mux)), nil
}

// Serve answers requests on ln until ctx ends, then lets those under way end for a
// moment.
func Serve(ctx context.Context, ln net.Listener, h http.Handler) error {
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    64 << 10,
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
