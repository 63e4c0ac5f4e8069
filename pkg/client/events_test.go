package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestReadEvents(t *testing.T) {
	for _, c := range []struct {
		name, stream string
		want         []uint64
		err          string
	}{
		{"comments and other fields", ": limeload\n\nid: 1\nevent: mode\ndata: {\"id\":1}\n\n: ping\n\ndata:{\"id\":2}\n\n", []uint64{1, 2}, ErrStreamEnded.Error()},
		{"data on two lines", "data: {\"id\":\ndata: 3}\n\n", []uint64{3}, ErrStreamEnded.Error()},
		{"an event that is cut off", "data: {\"id\":1}\n\ndata: {\"id\":2}\n", []uint64{1}, ErrStreamEnded.Error()},
		{"carriage returns", "data: {\"id\":4}\r\n\r\n", []uint64{4}, ErrStreamEnded.Error()},
		{"nothing", "", nil, ErrStreamEnded.Error()},
		{"no JSON", "data: hello\n\n", nil, "read events: "},
		{"a line without end", "data: " + strings.Repeat("x", maxEvent+1), nil, "the stream of events ended: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []uint64
			heard := 0
			err := readEvents(strings.NewReader(c.stream), func() { heard++ }, func(e Event) error {
				got = append(got, e.ID)
				return nil
			})
			if !slices.Equal(got, c.want) || err == nil || !strings.HasPrefix(err.Error(), c.err) {
				t.Errorf("got %v, %v; want %v, %s", got, err, c.want, c.err)
			}
			// A comment is a sign of life too.
			if lines := strings.Count(c.stream, "\n"); err == ErrStreamEnded && heard != lines {
				t.Errorf("heard %d lines; want %d", heard, lines)
			}
		})
	}
}

func FuzzReadEvents(f *testing.F) {
	f.Add("id: 1\nevent: mode\ndata: {\"id\":1}\n\n")
	f.Add(": ping\n\ndata: {\ndata: }\n\n")
	f.Fuzz(func(t *testing.T, stream string) {
		n := 0
		err := readEvents(strings.NewReader(stream), func() {}, func(Event) error { n++; return nil })
		if err == nil {
			t.Error("got no error; want the stream's end")
		}
		if most := strings.Count(stream, "data:"); n > most {
			t.Errorf("got %d events of %d lines of data", n, most)
		}
	})
}

// Follow asks for what comes after an event, tells of each one, and ends with tell's error or
// the caller's context.
func TestFollow(t *testing.T) {
	at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept") != "text/event-stream" || r.URL.Query().Get("after") != "6" {
			t.Errorf("got %s with Accept %s", r.URL, r.Header.Get("Accept"))
		}
		fmt.Fprint(w, "data: {\"id\":7,\"kind\":\"mode\"}\n\n")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	c := connect(t, Options{Address: at})
	enough := errors.New("enough")
	if err := c.Follow(t.Context(), 6, func(e Event) error { return enough }); err != enough {
		t.Errorf("got %v; want what tell says", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := c.Follow(ctx, 6, func(e Event) error {
		if e.ID != 7 || e.Kind != "mode" {
			t.Errorf("got %+v", e)
		}
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v; want context.Canceled", err)
	}
}
