package client

import (
	"strings"
	"testing"
)

func TestFind(t *testing.T) {
	pools := []Pool{
		{Name: "pg", Backends: []Backend{{Name: "one"}, {Name: "two"}, {Name: "unix:/run/pg.sock"}}},
		{Name: "redis", Backends: []Backend{{Name: "one"}, {Name: "pg/two"}}, Leaving: []Backend{{Name: "old"}}},
	}
	for _, c := range []struct{ name, want, err string }{
		{name: "pg/one", want: "pg/one"},
		{name: "redis/one", want: "redis/one"},
		{name: "two", want: "pg/two"},
		{name: "unix:/run/pg.sock", want: "pg/unix:/run/pg.sock"},
		{name: "pg/unix:/run/pg.sock", want: "pg/unix:/run/pg.sock"},
		{name: "redis/pg/two", want: "redis/pg/two"},
		{name: "pg/two", want: "pg/two"}, // the full name counts more than another's short one
		{name: "old", want: "redis/old"},
		{name: "one", err: `backend "one": there are several: which of pg/one, redis/one?`},
		{name: "three", err: `backend "three": unknown; want one of one, pg/two, two, unix:/run/pg.sock`},
		{name: "pg/three", err: `backend "pg/three": unknown; want one of pg/one, pg/two, pg/unix:/run/pg.sock`},
		{name: "gp/one", err: `backend "gp/one": unknown; want one of pg/one, pg/two, pg/unix:/run/pg.sock, redis/one, redis/pg/two, redis/old`},
	} {
		at, err := Find(pools, c.name)
		switch {
		case c.err != "" && (err == nil || err.Error() != c.err):
			t.Errorf("%s: got %v, %v; want the error %s", c.name, at, err, c.err)
		case c.err == "" && (err != nil || at.String() != c.want):
			t.Errorf("%s: got %v, %v; want %s", c.name, at, err, c.want)
		}
	}
	if _, err := Find(nil, "one"); err == nil || !strings.Contains(err.Error(), "there is none at all") {
		t.Errorf("without pools: got %v", err)
	}
}

// Among many names, the closest one is told.
func TestManyNames(t *testing.T) {
	var pools []Pool
	for _, name := range strings.Fields("alpha beta gamma delta epsilon zeta eta theta iota kappa") {
		pools = append(pools, Pool{Name: name})
	}
	if _, err := FindPool(pools, "epsilom"); err == nil || err.Error() != `pool "epsilom": unknown; did you mean "epsilon"?` {
		t.Errorf("got %v", err)
	}
	if p, err := FindPool(pools, "eta"); err != nil || p.Name != "eta" {
		t.Errorf("got %v, %v; want eta", p, err)
	}
}
