package admin

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Silent connections push out each other; one whose request is being answered stays,
// and whoever comes now is answered.
func TestCrowdPushesOutWhoeverWaitsLongest(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/long", func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-leave
		io.WriteString(w, "done")
	})
	mux.HandleFunc("/short", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "now") })
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	const most = 3
	go func() { served <- Serve(ctx, ln, mux, most, io.Discard) }()

	ask := func(path string) net.Conn {
		c := connect(t, ln.Addr())
		io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
		return c
	}
	long := ask("/long")
	<-entered
	var silent []net.Conn
	for range 3 * most {
		silent = append(silent, connect(t, ln.Addr()))
	}
	for i, c := range silent[:2*most] {
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Errorf("silent connection %d: got bytes; want its end", i)
		}
	}
	wantAnswer(t, ask("/short"), "now")
	close(leave)
	wantAnswer(t, long, "done")
	cancel()
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// A connection has the time in which its question is read, however many come behind it.
func TestCrowdLetsNewcomersAsk(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c := newCrowd(ln, 1)
	began := time.Now()
	for range 3 {
		connect(t, ln.Addr())
	}
	var came []net.Conn
	for range 3 {
		g, err := c.Accept()
		if err != nil {
			t.Fatal(err)
		}
		came = append(came, g)
	}
	if took := time.Since(began); took < 2*readWithin {
		t.Errorf("two were pushed out within %v; want %v for each", took, readWithin)
	}
	for i, g := range came {
		_, err := g.(*guest).Conn.Write([]byte("x"))
		if last := i == len(came)-1; (err == nil) != last {
			t.Errorf("connection %d: got %v; want all but the last closed", i, err)
		}
	}
	connect(t, ln.Addr())
	time.AfterFunc(readWithin/10, func() { came[2].Close() })
	if _, err := c.Accept(); err != nil || len(c.guests) != 1 {
		t.Errorf("after the guest left: got %v and %d guests; want the next one", err, len(c.guests))
	}
}

func connect(t *testing.T, addr net.Addr) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

func wantAnswer(t *testing.T, c net.Conn, want string) {
	t.Helper()
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("got %v; want the answer %q", err, want)
	}
	if got, _ := io.ReadAll(r.Body); string(got) != want {
		t.Errorf("answer: got %q; want %q", got, want)
	}
}

// Whatever accept(2) says, the API is there again a moment later: without it nobody could
// drain or ask before the next restart.
func TestServeOutlivesErrorsOfAccept(t *testing.T) {
	for _, e := range []syscall.Errno{syscall.EMFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EPERM, syscall.EPROTO, syscall.ENETDOWN} {
		t.Run(e.Error(), func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			mux := http.NewServeMux()
			mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "here") })
			ctx, cancel := context.WithCancel(context.Background())
			served := make(chan error, 1)
			var remarks bytes.Buffer
			go func() { served <- Serve(ctx, &refusing{Listener: ln, err: e, times: 2}, mux, 10, &remarks) }()
			c := connect(t, ln.Addr())
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			wantAnswer(t, c, "here")
			cancel()
			if err := <-served; err != nil {
				t.Errorf("Serve: %v", err)
			}
			if got := remarks.String(); strings.Count(got, e.Error()) != 2 {
				t.Errorf("remarks: got %q; want the error twice", got)
			}
		})
	}
}

// refusing is a listener that fails for some times.
type refusing struct {
	net.Listener
	err   syscall.Errno
	times int
}

func (l *refusing) Accept() (net.Conn, error) {
	if l.times > 0 {
		l.times--
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: os.NewSyscallError("accept4", l.err)}
	}
	return l.Listener.Accept()
}
