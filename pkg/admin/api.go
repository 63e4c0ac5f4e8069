package admin

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/server"
)

// body is a response that is one value.
type body[T any] struct{ Body T }

// PoolPath and BackendPath are the parameters of the resources below a pool. They
// are exported because the library sees no others.
type PoolPath struct {
	Pool string `path:"pool" doc:"Name of the pool"`
}

type BackendPath struct {
	PoolPath
	Backend string `path:"backend" doc:"Name of the backend"`
}

// register adds the resources to mux. The description lies beside them under
// /api/v1/openapi.json; pages that would load scripts from elsewhere do not.
func (a *api) register(mux *http.ServeMux) huma.API {
	conf := huma.DefaultConfig("limeload", a.o.Version)
	conf.OpenAPIPath, conf.DocsPath, conf.SchemasPath = "/api/v1/openapi", "", ""
	conf.CreateHooks = nil                   // no $schema in every body
	conf.RejectUnknownQueryParameters = true // reload?dryrun=true is not to reload
	h := humago.New(mux, conf)
	h.UseMiddleware(refuseBody(h))

	get(h, "status", "/api/v1/status", "The process as a whole", a.status)
	get(h, "list-listeners", "/api/v1/listeners", "List the listeners", a.listeners)
	get(h, "listener", "/api/v1/listeners/{listener}", "One listener", a.listener)
	get(h, "list-pools", "/api/v1/pools", "List the pools with their backends", a.pools)
	get(h, "pool", "/api/v1/pools/{pool}", "One pool with its backends", a.pool)
	get(h, "list-backends", "/api/v1/pools/{pool}/backends", "List the backends of a pool", a.backends)
	get(h, "backend", "/api/v1/pools/{pool}/backends/{backend}", "One backend", a.backend)
	huma.Register(h, huma.Operation{
		OperationID: "add-backend", Method: http.MethodPost, Path: "/api/v1/pools/{pool}/backends",
		Summary: "Add a backend", DefaultStatus: http.StatusCreated,
		Description: "It gets no sessions before its first good probe. Reloads do not remove it.",
	}, a.addBackend)
	huma.Register(h, huma.Operation{
		OperationID: "change-backend", Method: http.MethodPatch, Path: "/api/v1/pools/{pool}/backends/{backend}",
		Summary: "Change mode, weight or max_connections", Description: "Reloads do not undo it.",
	}, a.changeBackend)
	huma.Register(h, huma.Operation{
		OperationID: "remove-backend", Method: http.MethodDelete, Path: "/api/v1/pools/{pool}/backends/{backend}",
		Summary: "Remove a backend", DefaultStatus: http.StatusNoContent,
		Description: "It gets no new sessions; those it has may go on for drain_timeout, or are cut at once with force.",
	}, a.removeBackend)
	huma.Register(h, huma.Operation{
		OperationID: "kill-sessions", Method: http.MethodDelete, Path: "/api/v1/pools/{pool}/backends/{backend}/sessions",
		Summary: "Cut the sessions of a backend", Description: "Those of one that was removed and is leaving, too.",
	}, a.killSessions)
	huma.Register(h, huma.Operation{
		OperationID: "reload", Method: http.MethodPost, Path: "/api/v1/reload",
		Summary:     "Read the configuration again",
		Description: "A file with problems changes nothing, and each of them is told. Overrides stay, unless they are to be reset.",
	}, a.reload)
	get(h, "list-overrides", "/api/v1/overrides", "List what a person changed", a.overrides)
	huma.Register(h, huma.Operation{
		OperationID: "reset-overrides", Method: http.MethodDelete, Path: "/api/v1/overrides",
		Summary: "Go back to what the file says", DefaultStatus: http.StatusNoContent,
	}, a.resetOverrides)
	a.registerSessions(h)
	a.registerExplain(h)
	a.registerEvents(h)
	a.registerHistory(h)
	a.registerConfiguration(h)
	return h
}

// get registers a resource that is only read.
func get[I, O any](h huma.API, id, path, summary string, answer func(context.Context, *I) (*O, error)) {
	huma.Register(h, huma.Operation{OperationID: id, Method: http.MethodGet, Path: path, Summary: summary}, answer)
}

// failure turns the server's errors into problem details.
func failure(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, server.ErrUnknown):
		return huma.Error404NotFound(err.Error())
	case errors.Is(err, server.ErrDuplicate):
		return huma.Error409Conflict(err.Error())
	case errors.Is(err, server.ErrRefused):
		return huma.Error422UnprocessableEntity(err.Error())
	case errors.Is(err, server.ErrClosed):
		return huma.Error503ServiceUnavailable("the server is stopping")
	}
	return huma.Error500InternalServerError(err.Error())
}

func (a *api) status(context.Context, *struct{}) (*body[Status], error) {
	o := a.s.Overview()
	ready, why, _ := a.s.Ready("")
	now := time.Now()
	return &body[Status]{Status{
		Version: a.o.Version, Time: now, Started: a.started, Uptime: now.Sub(a.started).Seconds(),
		Engine: o.Engine, Loops: o.Loops, ConfigFile: a.o.ConfigFile, StateFile: a.s.Config().Admin.StateFile,
		Ready: ready, Reason: why, Sessions: o.Sessions, Limit: o.Limit,
		Listeners: o.Listeners, Pools: o.Pools, Overrides: len(a.s.Overrides()),
	}}, nil
}

func (a *api) listeners(context.Context, *struct{}) (*body[[]Listener], error) {
	snap := a.s.Snapshot()
	out := []Listener{}
	for i := range snap.Listeners {
		out = append(out, newListener(&snap.Listeners[i]))
	}
	return &body[[]Listener]{out}, nil
}

func (a *api) listener(_ context.Context, in *struct {
	Listener string `path:"listener" doc:"Name of the listener"`
}) (*body[Listener], error) {
	snap := a.s.Snapshot()
	for i := range snap.Listeners {
		if snap.Listeners[i].Name == in.Listener {
			return &body[Listener]{newListener(&snap.Listeners[i])}, nil
		}
	}
	return nil, huma.Error404NotFound("listener " + in.Listener + ": unknown")
}

func (a *api) pool(_ context.Context, in *PoolPath) (*body[Pool], error) {
	p, err := a.poolOf(in.Pool)
	if err != nil {
		return nil, err
	}
	return &body[Pool]{*p}, nil
}

func (a *api) backend(_ context.Context, in *BackendPath) (*body[Backend], error) {
	return a.backendOf(in.Pool, in.Backend)
}

func (a *api) pools(context.Context, *struct{}) (*body[[]Pool], error) {
	snap, overrides := a.s.Snapshot(), a.s.Overrides()
	out := []Pool{}
	for i := range snap.Pools {
		out = append(out, newPool(&snap.Pools[i], overrides))
	}
	return &body[[]Pool]{out}, nil
}

func (a *api) poolOf(name string) (*Pool, error) {
	snap, ok := a.s.Pool(name)
	if !ok {
		return nil, huma.Error404NotFound("pool " + name + ": unknown")
	}
	p := newPool(&snap, a.s.Overrides())
	return &p, nil
}

func (a *api) backendOf(pool, name string) (*body[Backend], error) {
	p, err := a.poolOf(pool)
	if err != nil {
		return nil, err
	}
	for _, b := range p.Backends {
		if b.Name == name {
			return &body[Backend]{b}, nil
		}
	}
	return nil, huma.Error404NotFound("backend " + name + " of pool " + pool + ": unknown")
}

func (a *api) backends(_ context.Context, in *PoolPath) (*body[[]Backend], error) {
	p, err := a.poolOf(in.Pool)
	if err != nil {
		return nil, err
	}
	return &body[[]Backend]{p.Backends}, nil
}

func (a *api) addBackend(ctx context.Context, in *struct {
	PoolPath
	Body NewBackend
}) (*body[Backend], error) {
	addr, err := config.ParseAddress(in.Body.Address)
	if err != nil {
		return nil, huma.Error422UnprocessableEntity("address: " + err.Error())
	}
	b := config.DefaultBackend()
	b.Address, b.Name = addr, in.Body.Name
	b.MaxConnections, b.Backup = in.Body.MaxConnections, in.Body.Backup
	if b.Name == "" {
		b.Name = addr.String()
	}
	if in.Body.Weight != nil {
		b.Weight = *in.Body.Weight
	}
	if err := a.s.AddBackend(ctx, in.Pool, b); err != nil {
		return nil, failure(err)
	}
	return a.backendOf(in.Pool, b.Name)
}

func (a *api) changeBackend(ctx context.Context, in *struct {
	BackendPath
	Body Settings
}) (*body[Backend], error) {
	set := server.Settings{Weight: in.Body.Weight, MaxConnections: in.Body.MaxConnections}
	if in.Body.Mode != nil {
		for _, m := range []balancer.Mode{balancer.Ready, balancer.Drain, balancer.Maintenance} {
			if m.String() == *in.Body.Mode {
				set.Mode = &m
			}
		}
	}
	if err := a.s.SetBackend(ctx, in.Pool, in.Backend, set); err != nil {
		return nil, failure(err)
	}
	return a.backendOf(in.Pool, in.Backend)
}

func (a *api) removeBackend(ctx context.Context, in *struct {
	BackendPath
	Force bool `query:"force" doc:"Cut its sessions at once"`
}) (*struct{}, error) {
	return nil, failure(a.s.RemoveBackend(ctx, in.Pool, in.Backend, in.Force))
}

// killed is the answer of killSessions.
type killed struct {
	Killed int `json:"killed" doc:"Sessions that were cut"`
}

func (a *api) killSessions(_ context.Context, in *BackendPath) (*body[killed], error) {
	n, err := a.s.KillBackend(in.Pool, in.Backend)
	if err != nil {
		return nil, failure(err)
	}
	return &body[killed]{killed{n}}, nil
}

func (a *api) resetOverrides(ctx context.Context, _ *struct{}) (*struct{}, error) {
	return nil, failure(a.s.ResetOverrides(ctx))
}
