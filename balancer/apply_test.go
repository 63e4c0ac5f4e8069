package balancer

import (
	"net/netip"
	"testing"
)

// A backend that was removed can be taken up again with its sessions.
func TestApplyTakesUpAgain(t *testing.T) {
	a, b := Spec{Name: "a", Address: "x", Weight: 1}, Spec{Name: "b", Address: "y", Weight: 1}
	p, err := New(Options{}, []Spec{a})
	if err != nil {
		t.Fatal(err)
	}
	was, err := p.Acquire(netip.Addr{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Apply(Options{}, []Spec{b}); err != nil {
		t.Fatal(err)
	}
	if p.Has(was) {
		t.Error("Has of a removed backend: got true")
	}
	for _, test := range []struct {
		name    string
		spec    Spec
		want    bool
		changed bool
	}{
		{"at its address", Spec{Name: "a", Address: "x", Weight: 1, Was: was}, true, false},
		{"still there", Spec{Name: "a", Address: "x", Weight: 1, Was: was}, true, false},
		{"at another address", Spec{Name: "a", Address: "z", Weight: 1, Was: was}, false, false},
	} {
		diff, err := p.Apply(Options{}, []Spec{test.spec})
		if err != nil {
			t.Fatal(err)
		}
		got := p.Backends()[0]
		if (got.Backend == was) != test.want || p.Has(was) != test.want || (len(diff.Changed) > 0) != test.changed {
			t.Errorf("%s: the same backend: %v; want %v; diff %+v", test.name, got.Backend == was, test.want, diff)
		}
		if want := map[bool]int64{true: 1, false: 0}[test.want]; got.Active != want {
			t.Errorf("%s: active %d; want %d", test.name, got.Active, want)
		}
	}
	was.Release()
}
