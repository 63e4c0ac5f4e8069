package balancer

import (
	"errors"
	"fmt"
)

// MaxWeight is the greatest weight that a backend can have.
const MaxWeight = 256

// Spec is what is configured about one backend.
type Spec struct {
	Name           string // unique in the pool, not empty
	Address        string // not read here: with Name it is the backend's identity
	Weight         int    // 0..MaxWeight; 0 = no new sessions
	MaxConnections int    // the most that may be active at once; 0 = no limit
	Backup         bool   // used only while no other backend is usable
	NeedsProbe     bool   // no sessions while unchecked
	Value          any    // the owner's, for Backend.Value

	// Was is the Backend of this name and address that had been removed, to be taken
	// up again with its sessions; nil makes a new one where the pool has none.
	Was *Backend
}

// Options is what is configured about a whole pool. The zero value is least-connections.
type Options struct {
	// Algorithms is a chain: each proposes one backend, and if that is not usable the next is asked; the
	// last one picks among all usable backends. Empty means least-connections.
	Algorithms []string

	// HashKey is the secret of ip-hash. Balancers with the same key send a client to the same backend, and
	// who does not know it cannot choose addresses that meet on one backend. Empty is a fixed key that
	// everybody knows.
	HashKey string

	// HashSlots is the size of ip-hash's table: a prime, not below the number of backends. More slots
	// follow the weights more closely and take 4 bytes each. 0 means 65537, or 655373 above 650 backends.
	HashSlots int
}

// differs compares all but Value, which need not be comparable, and Was.
func (s Spec) differs(t Spec) bool {
	s.Value, t.Value = nil, nil
	s.Was, t.Was = nil, nil
	return s != t
}

func checkSpecs(specs []Spec) error {
	var errs []error
	names := make(map[string]bool, len(specs))
	for i, s := range specs {
		if err := s.check(names); err != nil {
			errs = append(errs, fmt.Errorf("backend %d %q: %w", i, s.Name, err))
		}
		names[s.Name] = true
	}
	return errors.Join(errs...)
}

func (s Spec) check(taken map[string]bool) error {
	var errs []error
	if s.Name == "" {
		errs = append(errs, errors.New("no name"))
	}
	if taken[s.Name] {
		errs = append(errs, errors.New("another backend has this name"))
	}
	if s.MaxConnections < 0 {
		errs = append(errs, fmt.Errorf("max connections %d is negative", s.MaxConnections))
	}
	return errors.Join(append(errs, checkWeight(s.Weight))...)
}

func checkWeight(w int) error {
	if w < 0 || w > MaxWeight {
		return fmt.Errorf("weight %d is out of range 0..%d", w, MaxWeight)
	}
	return nil
}

func checkSlots(n int, specs []Spec) error {
	switch {
	case n == 0:
		return nil
	case !prime(n):
		return fmt.Errorf("hash slots %d is not a prime", n)
	case n < len(specs):
		return fmt.Errorf("hash slots %d is below the number of backends, %d", n, len(specs))
	}
	return nil
}

func prime(n int) bool {
	for d := 2; d*d <= n; d++ {
		if n%d == 0 {
			return false
		}
	}
	return n > 1
}
