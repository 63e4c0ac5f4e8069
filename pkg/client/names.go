package client

import (
	"fmt"
	"slices"
	"strings"

	"github.com/limeload/limeload/pkg/config"
)

// Place is a backend by its names.
type Place struct{ Pool, Backend string }

// String is POOL/BACKEND, as Find reads it.
func (p Place) String() string { return p.Pool + "/" + p.Backend }

// UnknownName says that nothing is called so.
type UnknownName struct {
	Kind string // what was looked for: pool, backend, listener
	Name string
	Have []string // the names that there are
}

// maxListed is how many names are told rather than the closest one of them.
const maxListed = 8

func (e *UnknownName) Error() string {
	hint := config.DidYouMean(e.Name, e.Have)
	switch n := len(e.Have); {
	case n == 0:
		hint = "; there is none at all"
	case n <= maxListed:
		hint = "; want one of " + strings.Join(e.Have, ", ")
	}
	return fmt.Sprintf("%s %q: unknown%s", e.Kind, e.Name, hint)
}

// AmbiguousName says that a backend's name alone is not enough.
type AmbiguousName struct {
	Name   string
	Places []Place
}

func (e *AmbiguousName) Error() string {
	all := make([]string, len(e.Places))
	for i, p := range e.Places {
		all[i] = p.String()
	}
	return fmt.Sprintf("backend %q: there are several: which of %s?", e.Name, strings.Join(all, ", "))
}

// Find reads the name of a backend: POOL/BACKEND, or BACKEND alone where only one pool has
// it. Names of backends may have slashes themselves. Its errors are *UnknownName and
// *AmbiguousName.
func Find(pools []Pool, name string) (Place, error) {
	var full, short []Place
	var have []string
	for i := range pools {
		for _, b := range slices.Concat(pools[i].Backends, pools[i].Leaving) {
			at := Place{pools[i].Name, b.Name}
			have = append(have, at.String())
			switch name {
			case at.String():
				full = append(full, at)
			case at.Backend:
				short = append(short, at)
			}
		}
	}
	switch {
	case len(full) == 1:
		return full[0], nil
	case len(full) == 0 && len(short) == 1:
		return short[0], nil
	case len(full)+len(short) > 0:
		return Place{}, &AmbiguousName{name, slices.Concat(full, short)}
	}
	return Place{}, &UnknownName{"backend", name, likely(pools, name, have)}
}

// likely are the names to compare an unknown one with: those of the pool that it names, or
// bare names where it has none.
func likely(pools []Pool, name string, all []string) []string {
	pool, _, qualified := strings.Cut(name, "/")
	if qualified {
		for i := range pools {
			if pools[i].Name == pool {
				return places(&pools[i])
			}
		}
		return all
	}
	var bare []string
	for i := range pools {
		for j := range pools[i].Backends {
			bare = append(bare, pools[i].Backends[j].Name)
		}
	}
	slices.Sort(bare)
	return slices.Compact(bare)
}

func places(p *Pool) (all []string) {
	for i := range p.Backends {
		all = append(all, Place{p.Name, p.Backends[i].Name}.String())
	}
	return all
}

// FindPool finds a pool by its name. Its error is *UnknownName.
func FindPool(pools []Pool, name string) (*Pool, error) {
	have := make([]string, len(pools))
	for i := range pools {
		if pools[i].Name == name {
			return &pools[i], nil
		}
		have[i] = pools[i].Name
	}
	return nil, &UnknownName{"pool", name, have}
}

// FindListener finds a listener by its name. Its error is *UnknownName.
func FindListener(listeners []Listener, name string) (*Listener, error) {
	for i := range listeners {
		if listeners[i].Name == name {
			return &listeners[i], nil
		}
	}
	return nil, &UnknownName{"listener", name, ListenerNames(listeners)}
}

// ListenerNames are the names of listeners, in their order.
func ListenerNames(listeners []Listener) []string {
	names := make([]string, len(listeners))
	for i := range listeners {
		names[i] = listeners[i].Name
	}
	return names
}
