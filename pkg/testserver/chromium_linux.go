package testserver

import (
	"os/exec"
	"testing"
)

// Chromium is the path of the browser. It is no server: a test starts and drives it
// over the DevTools protocol.
func Chromium(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		missing(t, "chromium", "chromium")
	}
	return path
}
