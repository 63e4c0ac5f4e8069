//go:build linux

package main_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"syscall"
	"testing"
)

// A client that sends at once, while the first backend turns out not to serve, must
// not notice: the second one gets what the client sent, all of it and once.
func TestRetryKeepsEveryByte(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, engine string) {
		for _, first := range []struct {
			name    string
			address func(*testing.T) string
		}{
			{"first backend refuses", refusing},
			{"first backend does not answer", unanswering},
		} {
			for _, size := range []int{1, 4 << 20} {
				t.Run(fmt.Sprintf("%s, %d bytes", first.name, size), func(t *testing.T) {
					t.Parallel()
					dead := first.address(t)
					backend := listen(t, "127.0.0.1:0")
					l := serve(t, engine, inOrder(dead, backend.Addr().String())+`
						[pool.connect]
						timeout = "200ms"
					`)
					sent := randomBytes(uint64(size), size)
					client := dial(t, l.address("front"))
					received := make(chan []byte, 1)
					go collect(backend, received)
					if _, err := client.Write(sent); err != nil {
						t.Fatal(err)
					}
					// Only after the greeting, since an end would forbid a retry.
					expect(t, client, "hello")
					closeWrite(t, client)
					if got := <-received; !bytes.Equal(got, sent) {
						t.Errorf("the second backend got %d bytes; want the %d that were sent, unchanged", len(got), len(sent))
					}
					expectEnd(t, client)
					wantFields(t, l.session(client.LocalAddr()), fields{
						"attempts": 2, "backend_address": backend.Addr(),
						"bytes_up": size, "bytes_down": len("hello"), "reason": "client-closed",
					})
				})
			}
		}
	})
}

// collect greets one client of l and answers all that it sends.
func collect(l *net.TCPListener, received chan<- []byte) {
	c, err := l.Accept()
	if err != nil {
		received <- nil
		return
	}
	defer c.Close()
	io.WriteString(c, "hello")
	all, _ := io.ReadAll(c)
	received <- all
}

// unanswering is an address that drops connection requests: the queue of its
// listener is full, and nobody accepts.
func unanswering(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	dial(t, address) // a backlog of 0 holds one
	return address
}

// randomBytes are n bytes that seed determines.
func randomBytes(seed uint64, n int) []byte {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	b := make([]byte, n)
	rand.NewChaCha8(key).Read(b)
	return b
}
