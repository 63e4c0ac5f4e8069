//go:build !linux

package confine

import "errors"

// Capability is a part of root's power, on Linux.
type Capability int

// Drop and Restrict are Linux's.
const (
	NetBindService Capability = iota
	NetRaw
)

// Drop answers an error: privileges are divided otherwise here.
func Drop(id Identity, _ ...Capability) error {
	return errors.New("become user " + id.Name + ": only on Linux")
}

// Restrict restricts nothing.
func Restrict(Paths) (*Confinement, error) { return &Confinement{}, nil }

// CanWrite cannot tell.
func CanWrite(string) bool { return true }
