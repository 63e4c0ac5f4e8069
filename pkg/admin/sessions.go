package admin

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/limeload/limeload/pkg/server"
)

// Session is one live session.
type Session struct {
	ID             string  `json:"id" doc:"Unique as long as the process lives" example:"1-48213"`
	Listener       string  `json:"listener"`
	Pool           string  `json:"pool"`
	Backend        string  `json:"backend" doc:"That it is connected to, or dials"`
	Client         string  `json:"client" doc:"IP address, or unix" example:"10.1.2.3"`
	ClientPort     int     `json:"client_port" doc:"0 for unix"`
	BackendAddress string  `json:"backend_address"`
	State          string  `json:"state" enum:"dialing,open"`
	Age            float64 `json:"age" doc:"Seconds since the client was accepted"`
	Idle           float64 `json:"idle" doc:"Seconds without a byte in either direction, up to 5 s more or less exactly"`
	ConnectTime    float64 `json:"connect_time" doc:"Seconds that the connect to the backend took"`
	BytesUp        uint64  `json:"bytes_up" doc:"To the backend"`
	BytesDown      uint64  `json:"bytes_down" doc:"To the client"`
}

// Sessions is a page of live sessions.
type Sessions struct {
	Total    int       `json:"total" doc:"Sessions that match, on this page or not"`
	Sessions []Session `json:"sessions"`
}

// SessionsQuery are the parameters of the list of sessions.
type SessionsQuery struct {
	Listener string `query:"listener" doc:"Only of this listener"`
	Pool     string `query:"pool" doc:"Only of this pool"`
	Backend  string `query:"backend" doc:"Only of the backends of this name"`
	Client   string `query:"client" doc:"Only of these clients: an IP address, IP:port, a prefix such as 10.1.0.0/16, or unix"`
	Q        string `query:"q" doc:"Only those of which something that is shown contains this: id, names, addresses"`
	Sort     string `query:"sort" default:"-age" enum:"id,client,backend,age,idle,bytes_up,bytes_down,bytes,-id,-client,-backend,-age,-idle,-bytes_up,-bytes_down,-bytes" doc:"Sort by this, with - the greatest first"`
	Limit    int    `query:"limit" default:"100" minimum:"1" maximum:"1000" doc:"Most sessions in the answer"`
	Offset   int    `query:"offset" default:"0" minimum:"0" maximum:"10000000" doc:"Sessions to leave out before the first one"`
}

func (a *api) registerSessions(h huma.API) {
	huma.Register(h, huma.Operation{
		OperationID: "list-sessions", Method: http.MethodGet, Path: "/api/v1/sessions",
		Summary: "List live sessions", Description: "It does not hold up a session that is looked at.",
	}, a.sessions)
	huma.Register(h, huma.Operation{
		OperationID: "kill-session", Method: http.MethodDelete, Path: "/api/v1/sessions/{id}",
		Summary: "Cut one session", DefaultStatus: http.StatusNoContent,
		Description: "Both sides are reset. 404 when it has ended already.",
	}, a.killSession)
}

func (a *api) sessions(_ context.Context, in *SessionsQuery) (*body[Sessions], error) {
	q := server.SessionQuery{
		Listener: in.Listener, Pool: in.Pool, Backend: in.Backend, Text: in.Q, Offset: in.Offset, Limit: in.Limit,
	}
	by, descending := strings.CutPrefix(in.Sort, "-")
	q.Sort, q.Descending = server.SessionOrder(by), descending
	if err := parseClients(in.Client, &q); err != nil {
		return nil, huma.Error422UnprocessableEntity(err.Error())
	}
	page, total := a.s.Sessions(q)
	out := Sessions{Total: total, Sessions: make([]Session, len(page))}
	for i := range page {
		out.Sessions[i] = newSession(&page[i])
	}
	return &body[Sessions]{out}, nil
}

// parseClients reads which clients are wanted: an address, one with a port, a prefix, or
// unix; empty is any.
func parseClients(text string, q *server.SessionQuery) (err error) {
	switch text {
	case "":
		return nil
	case "unix":
		q.Unix = true
		return nil
	}
	if q.Client, err = netip.ParsePrefix(text); err == nil {
		if a := q.Client.Addr(); a.Is4In6() && q.Client.Bits() >= 96 {
			q.Client = netip.PrefixFrom(a.Unmap(), q.Client.Bits()-96)
		}
		return nil
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		both, err := netip.ParseAddrPort(text)
		if err != nil {
			return fmt.Errorf("client %q: want an IP address, IP:port, a prefix such as 10.1.0.0/16, or unix", text)
		}
		addr, q.ClientPort = both.Addr(), both.Port()
	}
	addr = addr.Unmap().WithZone("")
	q.Client = netip.PrefixFrom(addr, addr.BitLen())
	return nil
}

func newSession(s *server.Session) Session {
	out := Session{
		ID: s.ID.String(), Listener: s.Listener, Pool: s.Pool, Backend: s.Backend, BackendAddress: s.Address,
		Client: "unix", ClientPort: int(s.Client.Port()), State: "dialing",
		Age: s.Age.Seconds(), Idle: s.Idle.Seconds(), ConnectTime: s.Connect.Seconds(),
		BytesUp: s.Up, BytesDown: s.Down,
	}
	if s.Client.IsValid() {
		out.Client = s.Client.Addr().String()
	}
	if s.Open {
		out.State = "open"
	}
	return out
}

func (a *api) killSession(_ context.Context, in *struct {
	ID string `path:"id" doc:"As in the list of sessions"`
}) (*struct{}, error) {
	return nil, failure(a.s.KillSession(in.ID))
}
