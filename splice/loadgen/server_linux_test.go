package loadgen

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

func connectTo(t *testing.T, s *Server) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", s.Addresses()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// exchangeAll writes b, ends the direction, and answers what comes back.
func exchangeAll(t *testing.T, s *Server, b []byte) []byte {
	t.Helper()
	c := connectTo(t, s)
	go func() {
		_, _ = c.Write(b)
		_ = c.CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestServerEchoes(t *testing.T) {
	large := bytes.Repeat([]byte("0123456789"), 1_000_000)
	for name, c := range map[string]struct {
		role Role
		send []byte
	}{
		"nothing":                     {ByFirstByte, nil},
		"by the first byte":           {ByFirstByte, []byte("Echo this")},
		"after an unknown first byte": {ByFirstByte, []byte("hello")},
		"what looks like an upload":   {Echo, []byte("Upload, were it not for the flag")},
		"more than a socket holds":    {ByFirstByte, large},
	} {
		t.Run(name, func(t *testing.T) {
			if got := exchangeAll(t, listen(t, ServerOptions{Role: c.role}), c.send); !bytes.Equal(got, c.send) {
				t.Errorf("got %d bytes; want the %d that were sent", len(got), len(c.send))
			}
		})
	}
}

// TestServerEchoesSlowReader: an echo that cannot be sent waits, and so does the
// client, until somebody reads.
func TestServerEchoesSlowReader(t *testing.T) {
	s := listen(t, ServerOptions{})
	c := connectTo(t, s)
	sent := bytes.Repeat([]byte("0123456789"), 6_000_000)
	go func() {
		_, _ = c.Write(sent)
		_ = c.CloseWrite()
	}()
	until(t, "the server to be stuck", func() bool { got := s.Stats(); return got.BytesIn > got.BytesOut })
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("got %d bytes, %v; want %d", len(got), err, len(sent))
	}
}

func TestServerTakesUploads(t *testing.T) {
	const phase, n = 60_000, 200_000
	right := stretch(pattern(), phase, 0, n)
	wrong := bytes.Clone(right)
	wrong[n/2] ^= 0x80
	h := header(Sink, phase)
	for name, c := range map[string]struct {
		options ServerOptions
		send    []byte
		want    []byte
	}{
		"empty":                    {ServerOptions{}, h[:], receiptBytes(0, 0)},
		"right":                    {ServerOptions{}, append(h[:], right...), receiptBytes(n, 0)},
		"wrong":                    {ServerOptions{}, append(h[:], wrong...), receiptBytes(n, 1)},
		"wrong and not looked at":  {ServerOptions{Verify: VerifyNone}, append(h[:], wrong...), receiptBytes(n, 0)},
		"without the whole header": {ServerOptions{}, h[:2], nil},
		"into a fixed sink":        {ServerOptions{Role: Sink}, append(h[:], wrong...), nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := listen(t, c.options)
			if got := exchangeAll(t, s, c.send); !bytes.Equal(got, c.want) {
				t.Errorf("got %v; want %v", got, c.want)
			}
			if got := s.Stats(); got.BytesIn != uint64(len(c.send)) || got.Accepted != 1 {
				t.Errorf("got %+v; want %d bytes in of one connection", got, len(c.send))
			}
		})
	}
}

func receiptBytes(taken, wrong uint64) []byte {
	r := receipt(taken, wrong)
	return r[:]
}

// TestServerTakesHeaderBytewise: the header may come in pieces.
func TestServerTakesHeaderBytewise(t *testing.T) {
	s := listen(t, ServerOptions{})
	c := connectTo(t, s)
	h := header(Sink, 12345)
	in := uint64(0)
	for _, b := range append(h[:], stretch(pattern(), 12345, 0, 3)...) {
		_, _ = c.Write([]byte{b})
		in++
		until(t, "the byte to arrive", func() bool { return s.Stats().BytesIn == in })
	}
	_ = c.CloseWrite()
	if got, _ := io.ReadAll(c); !bytes.Equal(got, receiptBytes(3, 0)) {
		t.Errorf("got %v; want a receipt for 3 bytes", got)
	}
}

func TestServerIsSource(t *testing.T) {
	h := header(Source, 1000)
	for name, c := range map[string]struct {
		role  Role
		send  []byte
		phase uint32
	}{
		"by the first byte": {ByFirstByte, h[:], 1000},
		"by flag":           {Source, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			conn := connectTo(t, listen(t, ServerOptions{Role: c.role}))
			_, _ = conn.Write(c.send)
			got := make([]byte, 5_000_000)
			if _, err := io.ReadFull(conn, got); err != nil {
				t.Fatal(err)
			}
			table := pattern()
			for at := 0; at < len(got); at += 100_000 {
				if !matches(table, c.phase, uint64(at), got[at:at+100_000]) {
					t.Fatalf("got other bytes than the pattern's near %d", at)
				}
			}
			_ = conn.CloseWrite()
			if _, err := io.Copy(io.Discard, conn); err != nil {
				t.Errorf("after the client's end: got %v; want the end of the stream", err)
			}
		})
	}
}

func TestServerAddressInUse(t *testing.T) {
	s := listen(t, ServerOptions{})
	_, err := Listen(ServerOptions{Addresses: []netip.AddrPort{anyPort, s.Addresses()[0]}})
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("got %v; want address already in use", err)
	}
}

// TestServerKeepsLoopsLevel: whatever the kernel's hash does, a few connections are
// spread over the loops.
func TestServerKeepsLoopsLevel(t *testing.T) {
	s := listen(t, ServerOptions{Threads: 4})
	r := start(t, Options{Targets: s.Addresses(), Works: []Work{{Mode: Idle, Connections: 8}}, Duration: time.Hour})
	<-r.Begun()
	for i, l := range s.loops {
		if n := l.open.Load(); n < 1 || n > 3 {
			t.Errorf("loop %d: got %d of 8 connections; want about 2", i, n)
		}
	}
}
