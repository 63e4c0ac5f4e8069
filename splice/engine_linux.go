package splice

import "fmt"

// Auto is what TypeAuto means here.
const Auto = TypeSplice

// New starts an engine. It answers an error for an unknown type, or when the
// system refuses what the engine needs.
func New(o Options) (Engine, error) {
	switch o.Type {
	case TypeAuto, "", TypeSplice:
		return newReactor(o)
	case TypeCopy:
		return newCopyEngine(o), nil
	}
	return nil, fmt.Errorf("engine type %q: want %s, %s or %s", o.Type, TypeAuto, TypeSplice, TypeCopy)
}
