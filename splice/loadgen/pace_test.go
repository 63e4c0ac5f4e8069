package loadgen

import "testing"

func TestPace(t *testing.T) {
	p := pace{start: 1000, interval: 2.5}
	for _, want := range []int64{1000, 1002, 1005, 1007, 1010} {
		if got := p.take(); got != want {
			t.Errorf("got %d; want %d", got, want)
		}
	}
	p.taken = 4_000_000_000
	if got, want := p.next(), int64(10_000_001_000); got != want {
		t.Errorf("after many: got %d; want %d", got, want)
	}
	if got := (&pace{start: 7}).next(); got != forever {
		t.Errorf("closed loop: got %d; want never", got)
	}
}
