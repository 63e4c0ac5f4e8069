package healthcheck

import "context"

// MySQL is the Prober of MySQL and MariaDB servers.
type MySQL struct {
	DB

	// Query is run after login if it is not empty; an error of it is down.
	Query string
}

// Probe asks a.
func (m *MySQL) Probe(ctx context.Context, a Address) Result {
	return Result{}
}
