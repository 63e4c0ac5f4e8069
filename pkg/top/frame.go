package top

import (
	"context"
	"math"
	"time"

	"github.com/limeload/limeload/pkg/client"
)

// frame is what the server answered in one round.
type frame struct {
	at       time.Time
	status   client.Status
	rows     []row
	refused  map[string]uint64 // clients since the start, of all listeners, by reason
	held     int               // clients that wait for a limit
	sessions client.Sessions
	history  *client.History // nil where there was none yet
}

// row is a backend of a frame.
type row struct {
	client.Place
	client.Backend
}

// view of the sessions: of which backend, in which order, and how many.
type wanted struct {
	only  client.Place // no place: of all
	sort  string
	limit int
}

const (
	// historyEvery is how often the history is asked for: it gets a point in that time.
	historyEvery = 5 * time.Second

	// maxHistory is how many backends there may be for a history to be asked for. One
	// takes 3 kB, and nobody scrolls through more.
	maxHistory = 1000
)

// poll asks for a frame; last is the one before, of which a history that is new enough is
// kept.
func poll(ctx context.Context, api *client.Client, w wanted, last *frame) (*frame, error) {
	f := &frame{}
	var err error
	if f.status, err = api.Status(ctx); err != nil {
		return nil, err
	}
	listeners, err := api.Listeners(ctx)
	if err != nil {
		return nil, err
	}
	f.countRefused(listeners)
	pools, err := api.Pools(ctx)
	if err != nil {
		return nil, err
	}
	f.at = time.Now()
	for i := range pools {
		f.held += pools[i].Held
		for _, b := range append(pools[i].Backends, pools[i].Leaving...) {
			f.rows = append(f.rows, row{client.Place{Pool: pools[i].Name, Backend: b.Name}, b})
		}
	}
	f.sessions, err = api.Sessions(ctx, client.SessionQuery{
		Pool: w.only.Pool, Backend: w.only.Backend, Sort: w.sort, Limit: w.limit,
	})
	if err != nil {
		return nil, err
	}
	f.history = lastHistory(last, f.at)
	if f.history == nil && len(f.rows) <= maxHistory {
		h, err := api.History(ctx)
		if err != nil {
			return nil, err
		}
		f.history = &h
	}
	return f, nil
}

// countRefused adds up whom listeners did not let in. Who would have been refused, but
// for a dry run, is in.
func (f *frame) countRefused(listeners []client.Listener) {
	f.refused = map[string]uint64{}
	for i := range listeners {
		f.held += listeners[i].Held
		for reason, n := range listeners[i].Refused {
			f.refused[reason] += n
		}
	}
}

// lastHistory is the history of last while no newer one is due.
func lastHistory(last *frame, now time.Time) *client.History {
	if last == nil || last.history == nil || last.history.End == nil {
		return nil
	}
	if now.Sub(last.at) > historyEvery || last.status.Time.Sub(*last.history.End) >= historyEvery {
		return nil
	}
	return last.history
}

// flow is what moves in a second.
type flow struct{ sessions, up, down float64 }

// rates are the flows between two frames.
type rates struct {
	total    flow
	backends map[client.Place]flow
	refused  map[string]float64 // clients, by reason; without those of none
}

// ratesOf compares two frames. What was not in the first one, or has begun to count again
// because the process was restarted, has no flow yet.
func ratesOf(before, now *frame) rates {
	r := rates{backends: map[client.Place]flow{}, refused: map[string]float64{}}
	if before == nil || !before.status.Started.Equal(now.status.Started) {
		return r
	}
	took := now.at.Sub(before.at).Seconds()
	if took <= 0 {
		return r
	}
	for reason, n := range now.refused {
		if since(before.refused[reason], n) > 0 {
			r.refused[reason] = since(before.refused[reason], n) / took
		}
	}
	was := make(map[client.Place]*row, len(before.rows))
	for i := range before.rows {
		was[before.rows[i].Place] = &before.rows[i]
	}
	for i := range now.rows {
		b := &now.rows[i]
		a := was[b.Place]
		if a == nil {
			continue
		}
		f := flow{
			since(a.Sessions, b.Sessions) / took, since(a.BytesUp, b.BytesUp) / took, since(a.BytesDown, b.BytesDown) / took,
		}
		r.backends[b.Place] = f
		r.total.sessions += f.sessions
		r.total.up += f.up
		r.total.down += f.down
	}
	return r
}

// since is what was added to a count; one that fell is another one's.
func since(before, now uint64) float64 {
	if now < before {
		return 0
	}
	return float64(now - before)
}

// newSessions are the points of the history of a backend: sessions in each step.
func (f *frame) newSessions(at client.Place) []float64 {
	if f.history == nil {
		return nil
	}
	return f.history.Pools[at.Pool].Backends[at.Backend].Sessions
}

// allSessions are the points of the whole process, aligned at the newest.
func (f *frame) allSessions() []float64 {
	if f.history == nil {
		return nil
	}
	var sum []float64
	for _, l := range f.history.Listeners {
		if n := len(l.Sessions); n > len(sum) {
			sum = append(make([]float64, n-len(sum)), sum...)
		}
		for i, v := range l.Sessions {
			sum[len(sum)-len(l.Sessions)+i] += math.Max(0, v)
		}
	}
	return sum
}
