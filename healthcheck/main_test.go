package healthcheck

import (
	"fmt"
	"net"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain fails when a test leaves a goroutine or a descriptor behind.
func TestMain(m *testing.M) {
	before := openDescriptors()
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if after := openDescriptors(); code == 0 && after != before {
			fmt.Fprintf(os.Stderr, "open descriptors: got %d after the tests; want %d\n", after, before)
			code = 1
		}
		os.Exit(code)
	}))
}

// openDescriptors counts this process's descriptors; 0 where that is unknown.
// Those of the Go netpoller, which stay, are open afterwards.
func openDescriptors() int {
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		l.Close()
	}
	entries, _ := os.ReadDir("/proc/self/fd")
	return len(entries)
}
