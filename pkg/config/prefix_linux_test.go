package config

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Nobody writes into the pipe, so that whoever opened it would wait for ever.
func TestLoadPrefixesOpensNoPipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "list")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadPrefixes(pipe); err == nil || !strings.Contains(err.Error(), "is a named pipe") {
		t.Errorf("got %v; want that it is a named pipe", err)
	}
}
