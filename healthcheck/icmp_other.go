//go:build !linux

package healthcheck

import "context"

// pingUnprivileged: ping sockets are used on Linux only.
func pingUnprivileged(context.Context, echo) error { return errNotPermitted }
