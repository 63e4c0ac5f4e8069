package healthcheck

import "context"

// Postgres is the Prober of PostgreSQL servers.
type Postgres struct {
	DB

	// Database is what the probe connects to; "" is "postgres".
	Database string

	// Query is run after login if it is not empty; an error of it is down.
	Query string
}

// Probe asks a.
func (p *Postgres) Probe(ctx context.Context, a Address) Result {
	return Result{}
}
