package healthcheck

import "context"

// Redis is the Prober of Redis servers and those that speak its protocol.
type Redis struct{ DB }

// Probe asks a.
func (r *Redis) Probe(ctx context.Context, a Address) Result {
	return Result{}
}
