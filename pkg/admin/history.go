package admin

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/limeload/limeload/pkg/server"
)

// History is what listeners and backends did in the last ten minutes.
type History struct {
	Step      float64                    `json:"step" doc:"Seconds from one point to the next"`
	End       *time.Time                 `json:"end" doc:"Time of the newest point; null before the first one"`
	Pools     map[string]PoolHistory     `json:"pools" doc:"By name"`
	Listeners map[string]ListenerHistory `json:"listeners" doc:"By name"`
}

// PoolHistory is one pool's part of it.
type PoolHistory struct {
	Backends map[string]BackendHistory `json:"backends" doc:"By name"`
}

// ListenerHistory are the points of a listener, oldest first.
type ListenerHistory struct {
	Active    []float32 `json:"active" doc:"Live sessions"`
	Sessions  []float32 `json:"sessions" doc:"Sessions that began in the step"`
	BytesUp   []float32 `json:"bytes_up" doc:"Bytes in the step"`
	BytesDown []float32 `json:"bytes_down" doc:"Bytes in the step"`
	Refused   []float32 `json:"refused" doc:"Clients that an access list or a limit reset in the step"`
}

// BackendHistory are the points of a backend, oldest first.
type BackendHistory struct {
	Active    []float32 `json:"active" doc:"Live sessions and dials under way"`
	Sessions  []float32 `json:"sessions" doc:"Sessions that were connected in the step"`
	BytesUp   []float32 `json:"bytes_up" doc:"Bytes in the step"`
	BytesDown []float32 `json:"bytes_down" doc:"Bytes in the step"`
	ConnectMS Means     `json:"connect_ms" doc:"Milliseconds that connects in the step took on average; null without one"`
	Failures  []float32 `json:"failures" doc:"Attempts in the step that failed by its fault"`
}

// Means are numbers that may be missing: NaN is written as null.
type Means []float32

// MarshalJSON implements json.Marshaler.
func (m Means) MarshalJSON() ([]byte, error) {
	b := []byte{'['}
	for i, v := range m {
		if i > 0 {
			b = append(b, ',')
		}
		if math.IsNaN(float64(v)) {
			b = append(b, "null"...)
		} else {
			b = strconv.AppendFloat(b, float64(v), 'g', -1, 32)
		}
	}
	return append(b, ']'), nil
}

// Schema implements huma.SchemaProvider.
func (Means) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeNumber, Nullable: true}}
}

func (a *api) registerHistory(h huma.API) {
	huma.Register(h, huma.Operation{
		OperationID: "history", Method: http.MethodGet, Path: "/api/v1/history",
		Summary:     "What listeners and backends did in the last ten minutes",
		Description: "Up to 120 points, kept in memory. What is younger than the oldest point begins with zeros.",
	}, a.history)
}

func (a *api) history(_ context.Context, in *struct {
	Pool     string `query:"pool" doc:"Only this pool and its listeners"`
	Backends bool   `query:"backends" default:"true" doc:"With false, only listeners: the whole at a glance where there are many backends"`
}) (*body[History], error) {
	past := a.s.History
	if !in.Backends {
		past = a.s.ListenerHistories
	}
	h, err := past(in.Pool)
	if err != nil {
		return nil, failure(err)
	}
	out := History{
		Step: server.HistoryStep.Seconds(), End: optionalTime(h.End),
		Pools: map[string]PoolHistory{}, Listeners: map[string]ListenerHistory{},
	}
	for _, l := range h.Listeners {
		out.Listeners[l.Name] = ListenerHistory{l.Active, l.Sessions, l.Up, l.Down, l.Refused}
	}
	for _, p := range h.Pools {
		backends := map[string]BackendHistory{}
		for _, b := range p.Backends {
			backends[b.Name] = BackendHistory{b.Active, b.Sessions, b.Up, b.Down, b.Connect, b.Failures}
		}
		out.Pools[p.Name] = PoolHistory{backends}
	}
	return &body[History]{out}, nil
}
