package proxy

import (
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/pkg/limit"
	"github.com/limeload/limeload/pkg/standing"
	"github.com/limeload/limeload/splice"
)

// listening is a rig that hears what its sessions tell: of each one by itself.
func listening(t *testing.T) (r *rig, words func() []standing.Word) {
	r = newRig(t, Dialing{Attempts: 1}, target("a", "10.0.0.1:1"))
	var heard []standing.Word
	p := r.Conf().Pool
	p.OnHeard(func(h Heard) { heard = append(heard, h.Word) })
	p.SetLimits(standing.Limits{Failures: 1, Resets: 1, Slow: time.Second})
	return r, func() []standing.Word {
		all := heard
		heard = nil
		return all
	}
}

// ending is how a session goes: it connects after took, unless dial fails. After that
// it is not asked again if the client had sent all it will.
type ending struct {
	dial    error
	sentAll bool
	took    time.Duration
	splice.Result
}

func (r *rig) session(t *testing.T, e ending) {
	s := r.open(t)
	if _, err := s.Dial(nil); err != nil {
		t.Fatal(err)
	}
	if e.dial != nil {
		if e.Reason, e.Err = splice.ReasonConnectFailed, e.dial; !e.sentAll {
			s.Dial(e.dial)
		}
	} else if e.took > 0 {
		s.(splice.Connected).Connected(e.took)
	}
	s.Close(e.Result)
}

var endings = []struct {
	name  string
	e     ending
	want  []standing.Word // of an ordinary session
	trial standing.Word   // the last one of a trial
}{
	{"refused", ending{dial: errRefused}, []standing.Word{standing.ConnectsFail}, standing.TrialFailed},
	{"refused, and the client has sent all it will", ending{dial: errRefused, sentAll: true}, []standing.Word{standing.ConnectsFail}, standing.TrialFailed},
	{"no free port, and the client has sent all it will", ending{dial: os.NewSyscallError("connect", syscall.EADDRNOTAVAIL), sentAll: true}, nil, standing.TrialOver},
	{"no free port", ending{dial: os.NewSyscallError("connect", syscall.EADDRNOTAVAIL)}, nil, standing.TrialOver},
	{"no descriptor", ending{dial: os.NewSyscallError("socket", syscall.EMFILE)}, nil, standing.TrialOver},
	{"the client leaves before the connect", ending{Result: splice.Result{Reason: splice.ReasonClientReset}}, nil, standing.TrialOver},
	{"the client leaves afterwards", ending{took: time.Microsecond, Result: splice.Result{Reason: splice.ReasonClientReset}}, nil, standing.TrialOver},
	{"reset early", ending{took: time.Microsecond, Result: splice.Result{Reason: splice.ReasonBackendReset, Duration: standing.Early}},
		[]standing.Word{standing.SessionsBreak}, standing.TrialFailed},
	{"reset early, but the client had left", ending{took: time.Microsecond, Result: splice.Result{Reason: splice.ReasonBackendReset, ClientEnded: true}}, nil, standing.TrialOver},
	{"reset later", ending{took: time.Microsecond, Result: splice.Result{Reason: splice.ReasonBackendReset, Duration: standing.Early + time.Microsecond}}, nil, standing.TrialPassed},
	{"both ended", ending{took: time.Microsecond, Result: splice.Result{Reason: splice.ReasonClientClosed}}, nil, standing.TrialPassed},
	{"killed", ending{took: time.Microsecond, Result: splice.Result{Reason: splice.ReasonKilled}}, nil, standing.TrialOver},
	{"slow", ending{took: time.Second + 1, Result: splice.Result{Reason: splice.ReasonClientClosed}}, []standing.Word{standing.ConnectsFail}, standing.TrialPassed},
}

func TestWhatSessionsTell(t *testing.T) {
	for _, test := range endings {
		t.Run(test.name, func(t *testing.T) {
			r, words := listening(t)
			r.session(t, test.e)
			if got := words(); fmt.Sprint(got) != fmt.Sprint(test.want) {
				t.Errorf("words %v; want %v", got, test.want)
			}
		})
	}
}

func TestWhatTrialsTell(t *testing.T) {
	for _, test := range endings {
		t.Run(test.name, func(t *testing.T) {
			r, words := listening(t)
			b := r.pool.Backends()[0].Backend
			r.pool.SetStandings(map[*balancer.Backend]balancer.Standing{b: {Trial: true}})
			for range 2 { // the first one makes room for the second
				r.session(t, test.e)
				var got []standing.Word
				for _, w := range words() {
					if w >= standing.TrialPassed {
						got = append(got, w)
					}
				}
				if len(got) == 0 || got[0] != test.trial {
					t.Errorf("words %v; want %v first", got, test.trial)
				}
			}
		})
	}
}

// A good end between bad ones begins the streak anew; a client that left does not.
func TestStreakOfResets(t *testing.T) {
	r, words := listening(t)
	r.Conf().Pool.SetLimits(standing.Limits{Resets: 2})
	reset := ending{took: time.Microsecond, Result: splice.Result{Reason: splice.ReasonBackendReset}}
	good := ending{took: time.Microsecond, Result: splice.Result{Reason: splice.ReasonBackendClosed}}
	left := ending{took: time.Microsecond, Result: splice.Result{Reason: splice.ReasonClientReset}}
	for _, e := range []ending{reset, good, reset} {
		r.session(t, e)
	}
	if got := words(); len(got) > 0 {
		t.Errorf("words %v; want none yet", got)
	}
	r.session(t, left)
	r.session(t, reset)
	if got := words(); len(got) != 1 || got[0] != standing.SessionsBreak {
		t.Errorf("words %v; want that sessions break", got)
	}
}

// A trial whose backend is above its rate did not happen.
func TestTrialAboveRate(t *testing.T) {
	r := newRig(t, Dialing{Attempts: 1, Limit: BackendLimit{Rate: limit.PerSecond(1, 1)}}, target("a", "10.0.0.1:1"))
	b := r.pool.Backends()[0].Backend
	r.pool.SetStandings(map[*balancer.Backend]balancer.Standing{b: {Trial: true}})
	r.session(t, ending{took: time.Microsecond})
	s := r.open(t)
	_, err := s.Dial(nil)
	if err != LimitBackendRate {
		t.Fatalf("Dial got %v; want %v", err, LimitBackendRate)
	}
	s.Close(splice.Result{Reason: splice.ReasonConnectFailed, Err: err})
	r.Conf().Pool.SetDialing(Dialing{Attempts: 1})
	r.session(t, ending{took: time.Microsecond})
}
