package splice

import (
	"testing"

	"github.com/limeload/limeload/splice/internal/sys"
)

// visited is a session that can be told from others.
type visited int

func (visited) Dial(error) (Endpoint, error) { return Endpoint{}, nil }
func (visited) Close(Result)                 {}

// A sweep looks at every pair once, in pieces, so that the loop sees to its sessions in
// between; one for a single session goes no further than that.
func TestSweepInPieces(t *testing.T) {
	const pairs = 3 * sweepLooks
	r := &reactor{}
	l, err := newLoop(r)
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Close(l.ep)
	defer sys.Close(l.wakefd)
	for i := range pairs {
		p := l.pairs.take()
		p.state, p.session = stateRelaying, visited(i)
	}
	looks := map[Session]int{}
	match := func(wanted visited) func(Session) bool {
		return func(s Session) bool { looks[s]++; return s == wanted }
	}
	run := func(s *sweep) (turns int) {
		s.done.Add(1)
		l.sweep(s, 0)
		for len(l.tasks) > 0 {
			if turns++; len(l.tasks) > 1 {
				t.Fatalf("got %d tasks in a turn; want one", len(l.tasks))
			}
			l.runTasks()
		}
		s.done.Wait()
		return turns
	}
	if turns := run(&sweep{match: match(-1), most: 1}); turns < pairs/sweepLooks-1 || turns > pairs/sweepLooks {
		t.Errorf("%d pairs took %d more turns; want one for each %d", pairs, turns, sweepLooks)
	}
	for i := range pairs {
		if looks[visited(i)] != 1 {
			t.Fatalf("pair %d was looked at %d times; want once", i, looks[visited(i)])
		}
	}
	clear(looks)
	s := &sweep{match: match(5), most: 1}
	s.ended.Add(1) // another loop has found it
	if turns := run(s); turns != 0 || len(looks) > 0 {
		t.Errorf("after the one session was found elsewhere: got %d turns and %d looks; want none", turns, len(looks))
	}
}
