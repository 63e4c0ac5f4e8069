package loadgen

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"time"
)

// Mode is what a connection does.
type Mode uint8

const (
	// PingPong sends a message, waits for its echo, and does it again.
	PingPong Mode = iota
	// Connect opens a connection, exchanges one message, closes, and does it again.
	Connect
	// Upload sends without end.
	Upload
	// Download receives without end.
	Download
	// Idle exchanges one message and then keeps still.
	Idle
)

var modeNames = []string{"pingpong", "connect", "upload", "download", "idle"}

func (m Mode) String() string { return modeNames[m] }

// ParseMode is the Mode of that name.
func ParseMode(name string) (Mode, error) {
	for i, n := range modeNames {
		if n == name {
			return Mode(i), nil
		}
	}
	return 0, fmt.Errorf("unknown mode %q: want one of %s", name, strings.Join(modeNames, ", "))
}

// bulk tells whether the connection moves a stream rather than messages.
func (m Mode) bulk() bool { return m == Upload || m == Download }

// Work is a number of connections that do the same thing.
type Work struct {
	Mode        Mode
	Connections int // at least 1

	// Size is the bytes of one message, or of one read or write in bulk. 0 is 64 bytes
	// and 256 KiB. At most 1 GiB; in bulk more than 256 KiB is taken as that.
	Size int

	// Rate makes an open loop: so many operations a second, all connections together,
	// whether or not earlier ones are done. 0 is a closed loop: each connection begins
	// its next operation when the last one is done. Only for PingPong and Connect.
	Rate float64
}

// Mixed is load like a busy server's: of every eight connections one downloads, one
// uploads, one connects and closes, and the others exchange messages of size bytes.
// It needs at least four connections, so that every kind occurs.
func Mixed(connections, size int, rate float64) []Work {
	share := max(connections/8, 1)
	return []Work{
		{Mode: PingPong, Connections: connections - 3*share, Size: size, Rate: rate},
		{Mode: Connect, Connections: share, Size: size},
		{Mode: Upload, Connections: share},
		{Mode: Download, Connections: share},
	}
}

// Options say what [Start] does.
type Options struct {
	// Targets are the addresses to connect to, in turn. At least one.
	Targets []netip.AddrPort
	// Sources are local addresses to connect from, in turn, of the targets' family (IPv4
	// or IPv6); none leaves it to the system. With several, more than one ephemeral port
	// range is available.
	Sources []netip.Addr

	Works []Work

	// Duration is the length of the window that is measured. It begins Warmup after
	// every connection has been opened, or has been found impossible to open.
	Duration time.Duration
	Warmup   time.Duration

	// Timeout bounds one connect, one operation, and the orderly end after the window.
	// 0 is 5 s. It is looked at every 100 ms.
	Timeout time.Duration

	// Threads is the number of loops, at most one per connection; 0 is GOMAXPROCS.
	Threads int

	// Verify is how much of what comes back is compared.
	Verify Verify

	// Plain sends nothing to choose the server's role: for servers that have only one.
	// An upload is then not confirmed, and a download must begin with phase 0.
	Plain bool
}

// Verify is how much of the received bytes is compared with what they must be.
type Verify uint8

const (
	VerifyAll    Verify = iota // every byte
	VerifySample               // one read in sampleEvery; in bulk the others are dropped by the kernel
	VerifyNone                 // nothing
)

// sampleEvery is prime, so that it does not beat with powers of two.
const sampleEvery = 17

var verifyNames = []string{"full", "sample", "none"}

func (v Verify) String() string { return verifyNames[v] }

// ParseVerify is the Verify of that name.
func ParseVerify(name string) (Verify, error) {
	for i, n := range verifyNames {
		if n == name {
			return Verify(i), nil
		}
	}
	return 0, fmt.Errorf("unknown verification %q: want one of %s", name, strings.Join(verifyNames, ", "))
}

const (
	defaultTimeout = 5 * time.Second
	defaultSize    = 64
	maxSize        = 1 << 30
)

// completed is o with every default in its place.
func (o Options) completed() Options {
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Threads == 0 {
		o.Threads = runtime.GOMAXPROCS(0)
	}
	works := make([]Work, len(o.Works))
	connections := 0
	for i, w := range o.Works {
		if w.Size == 0 {
			w.Size = defaultSize
			if w.Mode.bulk() {
				w.Size = chunkSize
			}
		}
		if w.Mode.bulk() {
			w.Size = min(w.Size, chunkSize)
		}
		works[i] = w
		connections += w.Connections
	}
	o.Works = works
	o.Threads = min(o.Threads, connections)
	return o
}

// Check tells everything that is wrong with o, which [Start] would refuse.
func (o Options) Check() error {
	var errs []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(len(o.Targets) > 0, "no target")
	for _, a := range o.Targets {
		bad(a.IsValid() && a.Port() != 0, "target %s: no address with a port", a)
		for _, s := range o.Sources {
			bad(s.Unmap().Is4() == a.Addr().Unmap().Is4(), "source %s: is of another family than target %s", s, a)
		}
	}
	bad(o.Duration > 0, "duration %s: want more than 0", o.Duration)
	bad(o.Warmup >= 0 && o.Timeout >= 0, "negative warm-up or timeout")
	bad(o.Threads >= 0, "threads %d: want 0 or more", o.Threads)
	bad(len(o.Works) > 0, "nothing to do")
	for _, w := range o.Works {
		bad(w.Connections >= 1, "%s: connections %d: want at least 1", w.Mode, w.Connections)
		bad(w.Size >= 0 && w.Size <= maxSize, "%s: size %d: out of range 0..%d", w.Mode, w.Size, maxSize)
		bad(w.Rate >= 0 && w.Rate <= 1e9, "%s: rate %g: out of range 0..1e9", w.Mode, w.Rate)
		bad(w.Rate == 0 || w.Mode == PingPong || w.Mode == Connect, "%s: has no rate", w.Mode)
	}
	return errors.Join(errs...)
}
