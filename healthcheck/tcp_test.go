package healthcheck

import (
	"context"
	"net"
	"net/netip"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// patience bounds waits that end at once when the code is right.
const patience = 10 * time.Second

func probe(t *testing.T, p Prober, a Address, timeout time.Duration) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	return p.Probe(ctx, a)
}

// expect fails t unless r has the verdict and reason, and is whole.
func expect(t *testing.T, r Result, v Verdict, reason Reason) {
	t.Helper()
	if r.Verdict != v || r.Reason != reason {
		t.Errorf("probe %s: got %v, reason %q (%v); want %v, %q", r.Address, r.Verdict, r.Reason, r.Err, v, reason)
	}
	if (r.Err == nil) != (v == Up) || (r.Text() == "") != (v == Up) {
		t.Errorf("probe %s, %v: got error %v, text %q; want both unless up", r.Address, r.Verdict, r.Err, r.Text())
	}
	if len(r.Phases) != 1 || r.Phases[0].Took != r.Took {
		t.Errorf("probe %s: got phases %v, took %v; want one phase that took as long", r.Address, r.Phases, r.Took)
	}
}

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(t.Context(), network, address)
	if err != nil {
		t.Skipf("listen %s %s: %v", network, address, err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func tcpAddress(l net.Listener) Address {
	return Address{AddrPort: l.Addr().(*net.TCPAddr).AddrPort()}
}

// closedPort is an address on which nobody listens.
func closedPort(t *testing.T, host string) Address {
	l := listen(t, "tcp", net.JoinHostPort(host, "0"))
	defer l.Close()
	return tcpAddress(l)
}

func TestTCP(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		t.Run(host, func(t *testing.T) {
			t.Run("a listener is up", func(t *testing.T) {
				r := probe(t, NewTCP(), tcpAddress(listen(t, "tcp", net.JoinHostPort(host, "0"))), patience)
				expect(t, r, Up, "")
				if r.Phases[0].Name != "connect" {
					t.Errorf("phase: got %q; want connect", r.Phases[0].Name)
				}
			})
			t.Run("a closed port is refused", func(t *testing.T) {
				a := closedPort(t, host)
				r := probe(t, NewTCP(), a, patience)
				expect(t, r, Down, ReasonRefused)
				if want := "connect " + a.String() + ": connection refused"; r.Err.Error() != want {
					t.Errorf("error: got %q; want %q", r.Err, want)
				}
				if got := r.Text(); got != "connection refused" {
					t.Errorf("text: got %q; want connection refused", got)
				}
			})
		})
	}
}

func TestTCPTreatsMappedAddressAsIPv4(t *testing.T) {
	a := tcpAddress(listen(t, "tcp", "127.0.0.1:0"))
	mapped := netip.AddrFrom16(a.AddrPort.Addr().As16())
	a.AddrPort = netip.AddrPortFrom(mapped, a.AddrPort.Port())
	expect(t, probe(t, NewTCP(), a, patience), Up, "")
}

func TestTCPWithoutAddressIsUnknown(t *testing.T) {
	expect(t, probe(t, NewTCP(), Address{}, patience), Unknown, ReasonLocal)
}

func TestTCPUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	a := Address{Path: path}
	expect(t, probe(t, NewTCP(), a, patience), Down, ReasonRefused)

	l := listen(t, "unix", path)
	expect(t, probe(t, NewTCP(), a, patience), Up, "")

	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	expect(t, probe(t, NewTCP(), a, patience), Down, ReasonRefused)
}

func TestCanceledProbeIsUnknown(t *testing.T) {
	for _, a := range []Address{{AddrPort: netip.MustParseAddrPort("127.0.0.1:1")}, {Path: "/nonexistent/socket"}} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r := NewTCP().Probe(ctx, a)
		// A refusal that is there before the cancellation is noticed stays one.
		if r.Verdict == Up || r.Verdict == Down && r.Reason != ReasonRefused {
			t.Errorf("canceled probe of %s: got %v, %q; want unknown, or refused", a, r.Verdict, r.Reason)
		}
	}
}

func TestJudge(t *testing.T) {
	live := context.Background()
	canceled, cancel := context.WithCancel(live)
	cancel()
	expired, cancel := context.WithTimeout(live, 0)
	defer cancel()
	tests := []struct {
		ctx     context.Context
		err     error
		verdict Verdict
		reason  Reason
	}{
		{live, nil, Up, ""},
		{expired, nil, Up, ""},
		{live, syscall.ECONNREFUSED, Down, ReasonRefused},
		{live, errSelfConnect, Down, ReasonRefused},
		{live, syscall.ECONNRESET, Down, ReasonReset},
		{live, syscall.ETIMEDOUT, Down, ReasonTimeout},
		{live, syscall.EHOSTUNREACH, Down, ReasonUnreachable},
		{live, syscall.ENETUNREACH, Down, ReasonUnreachable},
		{live, context.DeadlineExceeded, Down, ReasonTimeout},
		{expired, context.DeadlineExceeded, Down, ReasonTimeout},
		{expired, syscall.ECONNREFUSED, Down, ReasonRefused},
		{canceled, context.Canceled, Unknown, ReasonCanceled},
		{live, syscall.EACCES, Unknown, ReasonNotPermitted},
		{expired, syscall.EPERM, Unknown, ReasonNotPermitted},
		{live, syscall.EMFILE, Unknown, ReasonLocal},
		{live, syscall.ENFILE, Unknown, ReasonLocal},
		{live, syscall.ENOBUFS, Unknown, ReasonLocal},
		{live, syscall.ENOMEM, Unknown, ReasonLocal},
		{live, syscall.EADDRNOTAVAIL, Unknown, ReasonLocal},
		{expired, syscall.EMFILE, Unknown, ReasonLocal},
	}
	for _, tt := range tests {
		if v, r := judge(tt.ctx, tt.err); v != tt.verdict || r != tt.reason {
			t.Errorf("%v, context %v: got %v, %q; want %v, %q", tt.err, tt.ctx.Err(), v, r, tt.verdict, tt.reason)
		}
	}
}

// fixed answers every probe of an address with a verdict, or waits for the
// end of the context where there is none.
type fixed map[Address]Verdict

func (f fixed) Probe(ctx context.Context, a Address) Result {
	if v, ok := f[a]; ok {
		return Result{Address: a, Verdict: v}
	}
	<-ctx.Done()
	return newResult(ctx, a, "wait", time.Now(), ctx.Err())
}

func TestProbeAny(t *testing.T) {
	up, down, unknown, silent := Address{Path: "up"}, Address{Path: "down"}, Address{Path: "unknown"}, Address{Path: "silent"}
	prober := fixed{up: Up, down: Down, unknown: Unknown}
	tests := []struct {
		name      string
		addresses []Address
		want      Address
		verdict   Verdict
	}{
		{"no address is down", nil, Address{}, Down},
		{"one address decides", []Address{down}, down, Down},
		{"one up is enough", []Address{down, unknown, up, down}, up, Up},
		{"up does not wait for the silent", []Address{silent, up, silent}, up, Up},
		{"all down is down", []Address{down, down}, down, Down},
		{"one unknown might have been up", []Address{down, unknown, down}, unknown, Unknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := ProbeAny(t.Context(), prober, tt.addresses)
			if r.Verdict != tt.verdict || r.Address != tt.want {
				t.Errorf("got %v of %v; want %v of %v", r.Verdict, r.Address, tt.verdict, tt.want)
			}
		})
	}
	if r := ProbeAny(t.Context(), prober, nil); r.Reason != ReasonDNS || r.Text() != "dns" {
		t.Errorf("no address: got reason %q, text %q; want dns", r.Reason, r.Text())
	}
}
