//go:build !linux

package loadgen

import (
	"context"
	"errors"
	"net/netip"
)

// Run is a load under way.
type Run struct{}

// Start answers errors.ErrUnsupported.
func Start(context.Context, Options) (*Run, error) { return nil, errors.ErrUnsupported }

func (*Run) Begun() <-chan struct{} { return nil }
func (*Run) Ended() <-chan struct{} { return nil }
func (*Run) Snapshot() Snapshot     { return Snapshot{} }
func (*Run) Wait() (*Result, error) { return nil, errors.ErrUnsupported }

// Server is the other end of the load.
type Server struct{}

// Listen answers errors.ErrUnsupported.
func Listen(ServerOptions) (*Server, error) { return nil, errors.ErrUnsupported }

func (*Server) Addresses() []netip.AddrPort { return nil }
func (*Server) Stats() ServerStats          { return ServerStats{} }
func (*Server) Close()                      {}

// RaiseFileLimit answers errors.ErrUnsupported.
func RaiseFileLimit(uint64) (uint64, error) { return 0, errors.ErrUnsupported }
