package server

import (
	"slices"
	"testing"
)

func TestEvents(t *testing.T) {
	ids := func(events []Event) (ids []uint64) {
		for _, e := range events {
			ids = append(ids, e.ID)
		}
		return ids
	}
	var l eventLog
	none, more := l.after(0)
	if len(none) != 0 {
		t.Errorf("got %d events at the start; want none", len(none))
	}
	select {
	case <-more:
		t.Error("more was told before there was an event")
	default:
	}
	for range 3 {
		l.add(Event{Kind: EventHealth})
	}
	<-more
	for _, test := range []struct {
		name  string
		after uint64
		want  []uint64
	}{
		{"all", 0, []uint64{1, 2, 3}},
		{"those after one", 2, []uint64{3}},
		{"none after the last", 3, nil},
		{"all, of a process before", 99, []uint64{1, 2, 3}},
	} {
		events, _ := l.after(test.after)
		if got := ids(events); !slices.Equal(got, test.want) {
			t.Errorf("%s: got %d; want %d", test.name, got, test.want)
		}
	}
	for range keptEvents {
		l.add(Event{})
	}
	events, _ := l.after(1)
	if len(events) != keptEvents || events[0].ID != 4 || events[len(events)-1].ID != keptEvents+3 {
		t.Errorf("after the ring turned: got %d events from %d on; want %d from 4 on", len(events), events[0].ID, keptEvents)
	}
}
