package config

import "testing"

func TestTally(t *testing.T) {
	made, restart, overridden := Change{Path: "log.access"}, Change{Path: "engine.threads", Restart: true}, Change{Path: "pool.a.backend.b.weight", Overridden: true}
	other := Change{Path: "log.level", Restart: true}
	for _, tt := range []struct {
		changes []Change
		want    string
	}{
		{nil, "no change"},
		{[]Change{made}, "1 change"},
		{[]Change{made, made}, "2 changes"},
		{[]Change{restart}, "no change; 1 waits for a restart: engine.threads"},
		{[]Change{made, restart, made}, "2 changes; 1 more waits for a restart: engine.threads"},
		{[]Change{made, restart, other}, "1 change; 2 more wait for a restart: engine.threads, log.level"},
		{[]Change{overridden}, "no change; 1 has no effect under an override"},
		{[]Change{restart, overridden, overridden}, "no change; 1 waits for a restart: engine.threads; 2 more have no effect under an override"},
	} {
		tally := TallyOf(tt.changes)
		if got := tally.String(); got != tt.want {
			t.Errorf("%+v: got %q; want %q", tt.changes, got, tt.want)
		}
		if got := tally.Delayed(); got != (len(tt.changes) > tally.Made) {
			t.Errorf("%+v: got delayed %v", tt.changes, got)
		}
	}
	if got, want := TallyOf([]Change{made, restart}).Phrase("to make"), "1 change to make; 1 more waits for a restart: engine.threads"; got != want {
		t.Errorf("got %q; want %q", got, want)
	}
}
