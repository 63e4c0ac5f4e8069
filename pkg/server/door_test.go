package server

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

// A listener whose path somebody has when its pool is back listens once that is free,
// though nothing happens to the pool any more.
func TestUnlistenTriesAgain(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		path := filepath.Join(t.TempDir(), "front.sock")
		backend := newLeaver(t)
		start(t, parse(t, `
engine = { type = %q }
listener = [{ name = "front", listen = ["unix:%s"], pool = "pool" }]
[[pool]]
name = "pool"
when_down = "unlisten"
health = { interval = "20ms", rise = 1, fall = 1 }
backend = [{ address = %q }]
`, engine, path, backend.Addr().String()))
		served := func() bool {
			c, err := net.Dial("unix", path)
			if err != nil {
				return false
			}
			defer c.Close()
			return exchange(c) == nil
		}
		eventually(t, "served", served)
		backend.Close()
		eventually(t, "refused", func() bool {
			c, err := net.Dial("unix", path)
			if err == nil {
				c.Close()
			}
			return err != nil
		})
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		other, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		newEcho(t, backend.Addr().String())
		if c, err := other.Accept(); err != nil { // the engine looks whether somebody answers
			t.Fatal(err)
		} else {
			c.Close()
		}
		other.Close()
		eventually(t, "served again", served)
	})
}
