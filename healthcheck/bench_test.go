package healthcheck

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// BenchmarkProbers probes 10 000 backends without a pause, each at an address of its own
// out of 127.0.0.0/8. An operation is one probe; besides its time it tells what CPU it
// took, that of the servers and the kernel's included, and how much memory the process
// held and how many goroutines it had at most, of which a constant part is the servers'.
//
//	go test ./healthcheck -run '^$' -bench Probers -benchtime 100000x
func BenchmarkProbers(b *testing.B) {
	reply := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	for _, bench := range []struct {
		name   string
		prober Prober
		serve  func(net.Conn)
	}{
		{"tcp", NewTCP(), nil},
		{"http", &HTTP{Body: "ok"}, answer1(reply)},
		{"send-expect", &SendExpect{Steps: []Step{say("PING\r\n", "+PONG\r\n")}}, answer1("+PONG\r\n")},
		{"agent", NewAgent("state\n"), answer1("75%\n")},
		{"all", All{{"tcp", NewTCP()}, {"agent", NewAgent("state\n")}}, answer1("up\n")},
	} {
		b.Run(bench.name, func(b *testing.B) { benchmarkProbers(b, bench.prober, bench.serve) })
	}
}

const benchmarkBackends = 10_000

func benchmarkProbers(b *testing.B, p Prober, serve func(net.Conn)) {
	m := NewMonitor(Options{Concurrency: 256})
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	port := benchmarkServer(b, ctx, serve)
	results := make(chan Verdict, 1024)
	checks := make([]Check, benchmarkBackends)
	for i := range checks {
		to := []Address{{AddrPort: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 1, byte(i >> 8), byte(i)}), port)}}
		checks[i] = Check{
			ID: fmt.Sprint(i), Prober: p, Addresses: func() []Address { return to },
			Interval: time.Millisecond, Timeout: 10 * time.Second,
			OnResult: func(r Result) {
				select {
				case results <- r.Verdict:
				case <-ctx.Done():
				}
			},
		}
	}
	m.Put(checks...)
	ended := make(chan struct{})
	go func() { m.Run(ctx); close(ended) }()
	for range benchmarkBackends { // each has been probed once: what lasts is there
		<-results
	}
	start, cpu := heldMemory(), cpuTime()
	most, goroutines := start, 0
	for i := range b.N + 1 {
		if v := <-results; v != Up && v != Degraded {
			b.Fatalf("got %v; want up", v)
		}
		if i == 0 {
			b.ResetTimer()
		}
		if i%10000 == 0 {
			most = max(most, heldMemory())
			goroutines = max(goroutines, runtime.NumGoroutine())
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(cpuTime()-cpu)/float64(b.N)/1e3, "cpu-µs/op")
	b.ReportMetric(float64(start)/1e6, "MB-at-first")
	b.ReportMetric(float64(most)/1e6, "MB-at-most")
	b.ReportMetric(float64(goroutines), "goroutines")
	cancel()
	<-ended
}

// answer1 reads something, answers, and hangs up when the client does.
func answer1(text string) func(net.Conn) {
	return func(c net.Conn) {
		var b [512]byte
		if n, _ := c.Read(b[:]); n > 0 {
			io.WriteString(c, text)
			c.Read(b[:])
		}
	}
}

// benchmarkServer listens on every address of this machine; without serve it accepts
// nobody, who does not wait to be accepted.
func benchmarkServer(b *testing.B, ctx context.Context, serve func(net.Conn)) uint16 {
	l, err := net.Listen("tcp4", ":0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	context.AfterFunc(ctx, func() { l.Close() })
	if serve != nil {
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					serve(c)
					c.Close()
				}()
			}
		}()
	}
	return l.Addr().(*net.TCPAddr).AddrPort().Port()
}

// heldMemory is what the process holds after a collection, stacks included.
func heldMemory() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkExpect is what a step costs that a server answers byte by byte, 4 KiB of it.
func BenchmarkExpect(b *testing.B) {
	answer := []byte(strings.Repeat("+PON", 1024) + "+PONG")
	for name, step := range map[string]Step{"text": say("", "+PONG"), "regexp": match("", `\+PONG`)} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				var h heard
				for i := range answer {
					h.add(answer[i : i+1])
					if h.take(&step) != (i == len(answer)-1) {
						b.Fatalf("got a match at %d; want one at the end", i)
					}
				}
			}
		})
	}
}
