//go:build !linux

package splicetest

import (
	"net"
	"net/netip"
	"syscall"
	"testing"

	"github.com/limeload/limeload/splice"
)

// What the suite does with the system's own calls it does on Linux; elsewhere the
// tests that need it are skipped.

func needLinux(t testing.TB) {
	t.Helper()
	t.Skip("needs Linux")
}

func (suite) acceptPause(t *testing.T)   { needLinux(t) }
func (suite) dialSelf(t *testing.T)      { needLinux(t) }
func (suite) gateLeftReset(t *testing.T) { needLinux(t) }
func (suite) leaveWaitOver(t *testing.T) { needLinux(t) }
func (suite) inUseShared(t *testing.T)   { needLinux(t) }
func (suite) socketOptions(t *testing.T) { needLinux(t) }
func (suite) urgentData(t *testing.T)    { needLinux(t) }

func (suite) boundedProcessor(t *testing.T)   { needLinux(t) }
func (suite) keepaliveClient(t *testing.T)    { needLinux(t) }
func (suite) keepaliveBackend(t *testing.T)   { needLinux(t) }
func (suite) keepaliveLive(t *testing.T)      { needLinux(t) }
func (suite) silentClient(t *testing.T)       { needLinux(t) }
func (suite) silentBackend(t *testing.T)      { needLinux(t) }
func (suite) silentIsNotSlow(t *testing.T)    { needLinux(t) }
func (suite) userTimeoutClient(t *testing.T)  { needLinux(t) }
func (suite) userTimeoutBackend(t *testing.T) { needLinux(t) }
func (suite) userTimeoutEternal(t *testing.T) { needLinux(t) }
func (suite) keepaliveOptions(t *testing.T)   { needLinux(t) }
func (suite) keepaliveChanged(t *testing.T)   { needLinux(t) }

func flushed(t testing.TB, _ stream) { needLinux(t) }

func unlisten(t testing.TB, _ net.Listener) { needLinux(t) }

func closedPort(t testing.TB) netip.AddrPort {
	needLinux(t)
	return netip.AddrPort{}
}

func staleSocket(t testing.TB) string {
	needLinux(t)
	return ""
}

func smallReceiveBuffer(string, string, syscall.RawConn) error { return nil }

type hanging struct {
	Listener net.Listener
	Endpoint splice.Endpoint
}

func hangingBackend(t testing.TB) *hanging {
	needLinux(t)
	return nil
}

func (*hanging) release(testing.TB) stream { return nil }

func openDescriptors(testing.TB) map[int]string { return nil }

// WatchDescriptors cannot see descriptors here.
func WatchDescriptors() (leaked func() error) { return func() error { return nil } }
