package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
)

// Status asks for the process as a whole.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	return s, c.get(ctx, resource("status"), nil, &s)
}

// Listeners lists the listeners.
func (c *Client) Listeners(ctx context.Context) (all []Listener, err error) {
	return all, c.get(ctx, resource("listeners"), nil, &all)
}

// Pools lists the pools with their backends.
func (c *Client) Pools(ctx context.Context) (all []Pool, err error) {
	return all, c.get(ctx, resource("pools"), nil, &all)
}

// Pool asks for one pool.
func (c *Client) Pool(ctx context.Context, name string) (p Pool, err error) {
	return p, c.get(ctx, resource("pools", name), nil, &p)
}

// Backend asks for one backend.
func (c *Client) Backend(ctx context.Context, pool, name string) (b Backend, err error) {
	return b, c.get(ctx, resource("pools", pool, "backends", name), nil, &b)
}

// AddBackend adds a backend to a pool, and answers it as it is then.
func (c *Client) AddBackend(ctx context.Context, pool string, n NewBackend) (b Backend, err error) {
	return b, c.do(ctx, http.MethodPost, resource("pools", pool, "backends"), nil, n, &b)
}

// ChangeBackend changes what s says, and answers the backend as it is then.
func (c *Client) ChangeBackend(ctx context.Context, pool, name string, s Settings) (b Backend, err error) {
	return b, c.do(ctx, http.MethodPatch, resource("pools", pool, "backends", name), nil, s, &b)
}

// RemoveBackend takes a backend out of its pool. Its sessions may go on for the drain
// timeout, or are cut at once with force.
func (c *Client) RemoveBackend(ctx context.Context, pool, name string, force bool) error {
	query := url.Values{}
	if force {
		query.Set("force", "true")
	}
	return c.do(ctx, http.MethodDelete, resource("pools", pool, "backends", name), query, nil, nil)
}

// KillBackend cuts the sessions of a backend, and answers how many.
func (c *Client) KillBackend(ctx context.Context, pool, name string) (int, error) {
	var out struct {
		Killed int `json:"killed"`
	}
	err := c.do(ctx, http.MethodDelete, resource("pools", pool, "backends", name, "sessions"), nil, nil, &out)
	return out.Killed, err
}

// Overrides lists what a person changed, of removed backends too.
func (c *Client) Overrides(ctx context.Context) (all []BackendOverride, err error) {
	return all, c.get(ctx, resource("overrides"), nil, &all)
}

// SessionQuery says which sessions are wanted; what is empty does not matter.
type SessionQuery struct {
	Listener, Pool, Backend string
	Client                  string // IP address, IP:port, prefix, or unix
	Text                    string // something that is shown contains it
	Sort                    string // such as age, or -age for the greatest first; empty means -age
	Limit, Offset           int    // of the page; a limit of 0 means the server's own
}

func (q *SessionQuery) values() url.Values {
	v := url.Values{}
	for _, p := range []struct{ key, value string }{
		{"listener", q.Listener}, {"pool", q.Pool}, {"backend", q.Backend}, {"client", q.Client},
		{"q", q.Text}, {"sort", q.Sort}, {"limit", number(q.Limit)}, {"offset", number(q.Offset)},
	} {
		if p.value != "" {
			v.Set(p.key, p.value)
		}
	}
	return v
}

// number is n as a parameter; 0 is none.
func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// Sessions lists live sessions.
func (c *Client) Sessions(ctx context.Context, q SessionQuery) (s Sessions, err error) {
	return s, c.get(ctx, resource("sessions"), q.values(), &s)
}

// KillSession cuts one session.
func (c *Client) KillSession(ctx context.Context, id string) error {
	return c.do(ctx, http.MethodDelete, resource("sessions", id), nil, nil, nil)
}

// Reload has the server read its configuration again.
func (c *Client) Reload(ctx context.Context, dryRun, resetOverrides bool) (changes []Change, err error) {
	query := url.Values{}
	if dryRun {
		query.Set("dry_run", "true")
	}
	if resetOverrides {
		query.Set("reset_overrides", "true")
	}
	return changes, c.do(ctx, http.MethodPost, resource("reload"), query, nil, &changes)
}

// Explain asks which backend a connection would get now, and why. The listener may be
// empty where there is only one; the client is an IP address, or unix.
func (c *Client) Explain(ctx context.Context, listener, client string) (e Explanation, err error) {
	query := url.Values{"client": {client}}
	if listener != "" {
		query.Set("listener", listener)
	}
	return e, c.get(ctx, resource("explain"), query, &e)
}

// History asks for the last ten minutes.
func (c *Client) History(ctx context.Context) (h History, err error) {
	return h, c.get(ctx, resource("history"), nil, &h)
}

// Config asks for the effective configuration.
func (c *Client) Config(ctx context.Context) (conf Config, err error) {
	return conf, c.get(ctx, resource("config"), nil, &conf)
}
