package soak

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// epoch is when the sessions of these tests live, for a minute.
var epoch = time.Unix(1_000_000, 0)

// tidy is a session on backend a in which nothing went wrong: 10 bytes up, 20 down,
// the client ends first.
func tidy() *record {
	return &record{
		number: 7,
		script: script{
			Listener: front,
			Client:   part{Bytes: 10, Finish: first},
			Server:   part{Bytes: 20},
		},
		life:   spell{epoch, epoch.Add(time.Minute)},
		met:    1,
		client: &outcome{sent: greeting + 10, received: greeting + 20, ended: true},
		server: &outcome{sent: greeting + 20, received: greeting + 10, ended: true},
		line:   &line{Listener: front, Backend: "a", Up: greeting + 10, Down: greeting + 20, Reason: "client-closed"},
	}
}

// short is one whose download stopped in the middle, which both ends know.
func short(reason string) *record {
	r := tidy()
	r.line.Reason, r.line.Down = reason, 9
	r.client.received, r.client.ended, r.client.err = 9, false, errors.New("reset")
	return r
}

// overtaken is one whose backend reset it behind its last byte; limeload passed on
// everything, but it did not arrive.
func overtaken(slow bool) *record {
	r := short("backend-reset")
	r.cutDown, r.script.Server.Finish, r.client.slow, r.line.Down = true, cutBehind, slow, greeting+20
	return r
}

// lost is one that came to no backend.
func lost(listener, reason string) *record {
	r := tidy()
	r.script.Listener, r.line = listener, &line{Listener: listener, Backend: "a", Reason: reason}
	r.met, r.server, r.client = 0, nil, &outcome{sent: greeting, err: errors.New("reset")}
	return r
}

func with(r *record, change func(r *record)) *record {
	change(r)
	return r
}

// A backend that is down, or crashes, half a minute into the session or long before.
var (
	then   = spell{epoch.Add(30 * time.Second), epoch.Add(31 * time.Second)}
	before = spell{epoch.Add(-2 * time.Second), epoch.Add(-time.Second)}
)

func TestVerdict(t *testing.T) {
	tests := []struct {
		name           string
		record         *record
		down, crashing spell
		want           string // the cause, or after "!" a part of the error
	}{
		{"whole", tidy(), before, before, whole},
		{"whole, on a backend that stopped and let it go on", tidy(), then, before, whole},
		{"ended by the wrong end", with(tidy(), func(r *record) { r.line.Reason = "backend-closed" }), before, before, "!want [client-closed]"},
		{"either end may be first", with(tidy(), func(r *record) { r.script.Server.Finish, r.line.Reason = first, "backend-closed" }), before, before, whole},
		{"a reset that nobody meant", with(tidy(), func(r *record) { r.line.Reason = "client-reset" }), before, before, "!nobody meant"},
		{"an error of limeload's own", with(tidy(), func(r *record) { r.line.Reason = "error" }), before, before, "!nothing explains"},
		{"bytes that are not the script's", with(short("killed"), func(r *record) { r.client.wrong = errors.New("foreign bytes") }), before, before, "!foreign bytes"},
		{"more received than counted", with(tidy(), func(r *record) { r.line.Up-- }), before, before, "!up: 14 bytes were sent, 13 counted, 14 received"},
		{"more counted than sent", with(tidy(), func(r *record) { r.line.Down++ }), before, before, "!down: 24 bytes were sent, 25 counted, 24 received"},
		{"two backends", with(tidy(), func(r *record) { r.met = 2 }), before, before, "!2 backends"},
		{"no line", with(tidy(), func(r *record) { r.line = nil }), before, before, "!no line"},
		{"another listener's line", with(tidy(), func(r *record) { r.line.Listener = late }), before, before, "!listener late"},

		{"cut short without a cause", short("backend-closed"), before, before, "!not whole"},
		{"cut short, and the client's end is missing", with(tidy(), func(r *record) { r.client.ended = false }), before, before, "!not whole"},
		{"cut short by a crash", short("backend-reset"), before, then, crashed},
		{"a stop cuts no session that it has", short("backend-closed"), then, before, "!not whole"},
		{"killed", short("killed"), before, before, "killed"},
		{"drained after its backend was removed", with(short("drained"), func(r *record) { r.line.Backend = "b" }), before, before, "drained"},
		{"drained on a backend that stayed", short("drained"), before, before, "!nothing explains"},
		{"idle where there is a timeout", with(short("idle-timeout"), func(r *record) { r.script.Listener, r.line.Listener = brief, brief }), before, before, "idle-timeout"},
		{"idle where there is none", short("idle-timeout"), before, before, "!nothing explains"},

		{"cut by the client", with(short("client-reset"), func(r *record) { r.cutUp, r.script.Client.Finish = true, cutHard }), before, before, cutByClient},
		{"a cut of the client's is not the backend's", with(short("backend-reset"), func(r *record) { r.cutUp = true }), before, before, "!nobody meant"},
		{"a reset behind the last byte that took bytes away", with(short("backend-reset"), func(r *record) { r.cutDown, r.script.Server.Finish = true, cutBehind }), before, before, "!a reset came behind 24 bytes, of which 9"},
		{"a reset that overtook bytes", overtaken(false), before, before, "!a reset came behind 24 bytes, of which 9 were received"},
		{"a reset that a slow end met", overtaken(true), before, before, cutByServer},
		{"a reset behind the last byte in a crash", with(short("backend-reset"), func(r *record) { r.cutDown, r.script.Server.Finish = true, cutBehind }), before, then, cutByServer},

		{"no backend where one is always up", lost(front, "no-backend"), then, before, "!nothing explains"},
		{"no backend where all may be down", lost(rough, "no-backend"), before, before, "no-backend"},
		{"one attempt for a client that has ended", with(lost(front, "connect-failed"), func(r *record) { r.script.Eager = true }), then, before, "connect-failed"},
		{"one attempt, and the backend was up", with(lost(front, "connect-failed"), func(r *record) { r.script.Eager = true }), before, before, "!nothing explains"},
		{"taken from the queue of a backend that stops", lost(front, "backend-reset"), then, before, stopped},
		{"left", with(lost(late, "client-closed"), func(r *record) { r.script.Leave = closes }), before, before, leftEarly},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := &backend{down: spells{all: []spell{test.down}}, crashes: spells{all: []spell{test.crashing}}}
			b := &backend{removed: spells{all: []spell{then}}}
			cause, err := test.record.judge(map[string]*backend{"a": a, "b": b})
			got := cause
			if err != nil {
				got = "!" + err.Error()
			}
			if ok := got == test.want; !ok && !(strings.HasPrefix(test.want, "!") && strings.Contains(got, test.want[1:])) {
				t.Errorf("got %q; want %q", got, test.want)
			}
		})
	}
}

// A script follows from the seed and the number, and none waits for itself.
func TestScripts(t *testing.T) {
	for number := range uint32(10_000) {
		s := draw(1, number)
		if s != draw(1, number) {
			t.Fatalf("session %d has two scripts", number)
		}
		c, b := s.Client, s.Server
		if c.Finish == last && b.Finish == last {
			t.Fatalf("session %d: both ends wait for the other's end: %+v", number, s)
		}
		if c.Turn > 0 && (c.Bytes/c.Chunk*c.Turn != b.Bytes || b.Bytes/b.Chunk*b.Turn != c.Bytes) {
			t.Fatalf("session %d: the ends wait for other bytes than are sent: %+v", number, s)
		}
		if c.Chunk > period || b.Chunk > period {
			t.Fatalf("session %d: a chunk is longer than the pattern: %+v", number, s)
		}
	}
}

func TestAddressTellsNumber(t *testing.T) {
	for _, number := range []uint32{0, 1, 255, 256, 1 << 16, 1<<22 - 1} {
		if got := numberOf(clientAddr(number).String()); got != number {
			t.Errorf("number of %v got %d; want %d", clientAddr(number), got, number)
		}
	}
}
