//go:build !linux

package splice

import (
	"errors"
	"fmt"
)

// Auto is what TypeAuto means here.
const Auto = TypeCopy

// New starts an engine. It answers an error for an unknown type, and for
// TypeSplice, which needs Linux.
func New(o Options) (Engine, error) {
	switch o.Type {
	case TypeAuto, "", TypeCopy:
		return newCopyEngine(o), nil
	case TypeSplice:
		return nil, errors.New("engine type splice needs Linux; auto and copy work here")
	}
	return nil, fmt.Errorf("engine type %q: want %s or %s", o.Type, TypeAuto, TypeCopy)
}
