package healthcheck

import (
	"crypto/tls"

	"github.com/limeload/limeload/pkg/testserver"
)

// trust verifies a server by its certificate's authority, and by its name if that is
// not empty.
func trust(c *testserver.Certificate, name string) *tls.Config {
	return &tls.Config{RootCAs: c.Authority, ServerName: name}
}
