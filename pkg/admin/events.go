package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/limeload/limeload/pkg/server"
)

// Event is a change that an operator may want to hear of when it happens.
type Event struct {
	ID       uint64    `json:"id" doc:"One more than that of the event before; those of a process are above those of earlier ones"`
	Time     time.Time `json:"time"`
	Kind     string    `json:"kind" example:"health"`
	Listener string    `json:"listener,omitempty"`
	Pool     string    `json:"pool,omitempty"`
	Backend  string    `json:"backend,omitempty"`
	Old      string    `json:"old,omitempty" doc:"What it was"`
	New      string    `json:"new,omitempty" doc:"What it is"`
	Reason   string    `json:"reason,omitempty" doc:"Why, in words for a person"`
	Refused  *Refused  `json:"refused,omitempty" doc:"Of kind refused: who was, and how many since the last such event"`
}

const (
	eventStream = "text/event-stream"

	// pingEvery is how often a stream without events says that it lives: below the
	// minute after which proxies and browsers tend to give one up.
	pingEvery = 15 * time.Second

	// streamPatience is how long a reader may take no bytes before its stream is cut.
	// What it misses it can ask for when it comes back.
	streamPatience = 10 * time.Second

	// maxStreams bounds the streams at one time: each holds a descriptor, and those that
	// the server puts aside for itself are few. See streamsFor.
	maxStreams = 16
)

func (a *api) registerEvents(h huma.API) {
	array := h.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[[]Event](), true, "")
	huma.Register(h, huma.Operation{
		OperationID: "events", Method: http.MethodGet, Path: "/api/v1/events",
		Summary: "Hear of changes as they happen",
		Description: "With Accept: text/event-stream, a stream of server-sent events: those that are kept and wanted, " +
			"then each one when it happens, and a comment every 15 s. Else an array of those that are kept, the " +
			"latest 1024. A reader that comes back sends the last id that it has.",
		Responses: map[string]*huma.Response{"200": {
			Description: "OK",
			Content: map[string]*huma.MediaType{
				eventStream:        {Schema: &huma.Schema{Type: huma.TypeString}},
				"application/json": {Schema: array},
			},
		}},
	}, a.events)
}

func (a *api) events(_ context.Context, in *struct {
	After       uint64 `query:"after" doc:"Only events after the one of this id"`
	LastEventID string `header:"Last-Event-ID" doc:"The same, as browsers say it when they come back; it counts more"`
	Accept      string `header:"Accept"`
}) (*huma.StreamResponse, error) {
	after := in.After
	if id, err := strconv.ParseUint(in.LastEventID, 10, 64); err == nil {
		after = id
	}
	return &huma.StreamResponse{Body: func(c huma.Context) {
		r, w := humago.Unwrap(c)
		if strings.Contains(in.Accept, eventStream) {
			if most := streamsFor(r); a.streams.Add(1) > most {
				problem(w, http.StatusServiceUnavailable, fmt.Sprintf("%d streams of events are open already", most))
			} else {
				a.stream(w, r, after)
			}
			a.streams.Add(-1)
			return
		}
		events, _ := a.s.Events(after)
		out := make([]Event, len(events))
		for i := range events {
			out[i] = newEvent(&events[i])
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(out)
	}}, nil
}

// streamsFor is how many streams there may be where r came in: with half of the
// connections at most. A stream answers without end and so cannot be pushed out, and the
// other half is for those who ask and go.
func streamsFor(r *http.Request) int32 {
	if g, ok := guestOf(r); ok {
		return int32(min(maxStreams, g.crowd.most/2))
	}
	return maxStreams
}

// stream writes events as they come until the reader goes, takes nothing for too long, or
// the API stops. A reader that is slow misses nothing of the latest 1024: it comes back for
// more when it has taken what it got, and nobody waits for it.
func (a *api) stream(w http.ResponseWriter, r *http.Request, after uint64) {
	s := newStream(w)
	ping := time.NewTicker(a.ping)
	defer ping.Stop()
	for last := false; ; {
		events, more := a.s.Events(after)
		for i := range events {
			s.event(newEvent(&events[i]))
			after = events[i].ID
		}
		if s.flush() != nil || last {
			return
		}
		select {
		case <-more:
		case <-ping.C:
			s.comment("ping")
		case <-r.Context().Done():
			return
		case <-stopping(r):
			last = true // what has happened meanwhile is told
		}
	}
}

// stream writes server-sent events (HTML Living Standard, 9.2).
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

// newStream begins an answer without end. The server's deadline for writing is not its
// own: each write has another one.
func newStream(w http.ResponseWriter) *stream {
	s := &stream{w, http.NewResponseController(w)}
	w.Header().Set("Content-Type", eventStream)
	w.Header().Set("X-Accel-Buffering", "no") // nginx before us, say
	s.extend()
	s.comment("limeload")
	return s
}

func (s *stream) extend() { s.control.SetWriteDeadline(time.Now().Add(streamPatience)) }

func (s *stream) event(e Event) {
	s.extend()
	data, _ := json.Marshal(e) // texts and numbers: it cannot fail
	fmt.Fprintf(s.w, "id: %d\nevent: %s\ndata: %s\n\n", e.ID, e.Kind, data)
}

func (s *stream) comment(text string) { fmt.Fprintf(s.w, ": %s\n\n", text) }

func (s *stream) flush() error {
	s.extend()
	return s.control.Flush()
}

func newEvent(e *server.Event) Event {
	out := Event{
		ID: e.ID, Time: e.Time, Kind: string(e.Kind), Listener: e.Listener, Pool: e.Pool, Backend: e.Backend,
		Old: e.Old, New: e.New, Reason: e.Reason,
	}
	if e.Refused != nil {
		r := newRefused(e.Refused)
		out.Refused = &r
	}
	return out
}
