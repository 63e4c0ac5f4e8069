package loadgen

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// TestCorruptionIsFound puts a proxy with a fault between client and server. The
// fault strikes once, somewhere in the stream, in the direction that carries it.
func TestCorruptionIsFound(t *testing.T) {
	faults := map[string]func(b []byte) []byte{
		"a flipped bit":   func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"a lost byte":     func(b []byte) []byte { return b[1:] },
		"a lost page":     func(b []byte) []byte { return b[4096:] },
		"a repeated page": func(b []byte) []byte { return append(b[:4096:4096], b...) },
		"swapped pages": func(b []byte) []byte {
			return append(append(append([]byte(nil), b[4096:8192]...), b[:4096]...), b[8192:]...)
		},
		"zeros": func(b []byte) []byte { clear(b[100:200]); return b },
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, w := range []Work{
				{Mode: PingPong, Connections: 1, Size: 40_000},
				{Mode: Upload, Connections: 1},
				{Mode: Download, Connections: 1},
			} {
				s := listen(t, ServerOptions{})
				up := w.Mode != Download
				o := Options{Targets: double(t, middleman(s, up, fault)), Works: []Work{w}, Timeout: time.Minute}
				seen := failing
				switch w.Mode {
				case PingPong:
					o.Timeout = time.Second // for what is lost
				case Upload:
					seen = worked // the server tells at the end
				}
				p := reportsWhen(t, o, "what is wrong", seen)[0]
				if p.Errors.Count[Corrupt]+p.Errors.Count[TimedOut] == 0 {
					t.Errorf("%s: got %v; want corrupt (or, where bytes were lost, a wait for them)", w.Mode, p.Errors.Count)
				}
				if w.Mode != PingPong && p.Errors.Count[Corrupt] == 0 {
					t.Errorf("%s: got %v; want corrupt", w.Mode, p.Errors.Count)
				}
			}
		})
	}
}

// TestCrossedConnectionsAreFound: a connection that is given the next one's download
// gets the right bytes of the wrong stream.
func TestCrossedConnectionsAreFound(t *testing.T) {
	s := listen(t, ServerOptions{})
	crossed := func(p peer) {
		var h [headerSize]byte
		if _, err := io.ReadFull(p, h[:]); err != nil {
			return
		}
		h = header(Source, phaseOf(h)+phaseFor(1, false))
		b := connectTo(t, s)
		defer b.Close()
		_, _ = b.Write(h[:])
		_, _ = io.CopyN(p, b, 1<<20)
	}
	_, err := start(t, Options{Targets: double(t, crossed), Works: []Work{{Mode: Download, Connections: 2}}}).Wait()
	if !errors.Is(err, errBytes) {
		t.Errorf("got %v; want %v", err, errBytes)
	}
}

// middleman is a proxy to s that changes one chunk of the up or the down direction.
func middleman(s *Server, up bool, fault func([]byte) []byte) func(peer) {
	return func(p peer) {
		b, err := net.Dial("tcp", s.Addresses()[0].String())
		if err != nil {
			return
		}
		defer b.Close()
		done := make(chan struct{})
		go func() {
			defer close(done)
			relay(b, p, up, fault)
		}()
		relay(p, b, !up, fault)
		<-done
	}
}

// relay copies until the end, and changes the bytes from 100 000 to 120 000.
func relay(to, from net.Conn, faulty bool, fault func([]byte) []byte) {
	defer to.(interface{ CloseWrite() error }).CloseWrite()
	if faulty {
		if _, err := io.CopyN(to, from, 100_000); err != nil {
			return
		}
		b := make([]byte, 20_000)
		if _, err := io.ReadFull(from, b); err != nil {
			return
		}
		if _, err := to.Write(fault(b)); err != nil {
			return
		}
	}
	_, _ = io.Copy(to, from)
}
