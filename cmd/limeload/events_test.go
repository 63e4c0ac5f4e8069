package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/limeload/limeload/pkg/client"
)

// Who follows events over a lost connection asks for those after the last one that was told;
// after a restart, where IDs begin again, for all of them.
func TestFollowingGoesOn(t *testing.T) {
	first := time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var asked []string // the streams, by what they came after
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/status", func(w http.ResponseWriter, _ *http.Request) {
		s := client.Status{Started: first}
		if len(asked) == 2 {
			s.Started = first.Add(time.Hour)
		}
		json.NewEncoder(w).Encode(s)
	})
	mux.HandleFunc("GET /api/v1/events", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept") != "text/event-stream" {
			fmt.Fprint(w, `[{"id":6},{"id":7}]`)
			return
		}
		asked = append(asked, r.URL.Query().Get("after"))
		if len(asked) == 3 {
			cancel()
			return
		}
		fmt.Fprintf(w, "data: {\"id\":%d}\n\n", 7+len(asked))
	})
	s := httptest.NewServer(mux)
	defer s.Close()
	api, err := client.New(client.Options{Address: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	var out, remarks bytes.Buffer
	if err := followEvents(&call{Client: api, ctx: ctx, out: &out, remarks: &remarks}, &eventOptions{last: 1}, true); err != nil {
		t.Errorf("got %v", err)
	}
	if want := []string{"7", "8", ""}; !slices.Equal(asked, want) {
		t.Errorf("streams asked for what is after %q; want %q", asked, want)
	}
	var told []uint64
	for d := json.NewDecoder(&out); d.More(); {
		var e client.Event
		if err := d.Decode(&e); err != nil {
			t.Fatal(err)
		}
		told = append(told, e.ID)
	}
	if want := []uint64{7, 8, 9}; !slices.Equal(told, want) {
		t.Errorf("told %v; want %v", told, want)
	}
}
