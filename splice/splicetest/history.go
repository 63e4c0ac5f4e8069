package splicetest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/limeload/limeload/splice"
)

var historyTests = []test{
	{"every byte of random histories arrives, in order, before the end", suite.histories},
}

// seedVariable in the environment repeats the histories of a seed.
const seedVariable = "SPLICETEST_SEED"

// histories runs many sessions side by side. Each is two scripts, drawn from the
// seed, that its peers follow: how much to send, in which chunks, with which pause
// in reading, and how to end.
func (s suite) histories(t *testing.T) {
	seed := rand.Uint64()
	if v, err := strconv.ParseUint(os.Getenv(seedVariable), 10, 64); err == nil {
		seed = v
	}
	t.Logf("%s=%d repeats this", seedVariable, seed)
	n := 600
	if testing.Short() || raceDetector {
		n = 150
	}
	r := s.rig(t, plan{options: splice.Options{Threads: 2, MaxPipes: 8}})
	var peers sync.WaitGroup
	peers.Go(func() { playBackends(t, r.backend, seed, n) })
	played := playClients(t, r.listener.Addr(), seed, n)
	peers.Wait()
	eventually(t, "all sessions end", func() bool { return r.live() == 0 })
	for range n {
		session := r.session()
		i, ok := played[session.peer.Remote]
		if !ok {
			t.Fatalf("a session has the client %v, which nobody was", session.peer.Remote)
		}
		if err := draw(seed, i).judge(session.result); err != nil {
			t.Errorf("history %d: %v", i, err)
		}
	}
}

// playClients plays the clients of histories 0 to n-1, and answers which of them
// came from which address.
func playClients(t *testing.T, addr netip.AddrPort, seed uint64, n int) map[netip.AddrPort]uint32 {
	played := make(map[netip.AddrPort]uint32)
	var work sync.WaitGroup
	defer work.Wait()
	slots := make(chan struct{}, 32)
	for i := range uint32(n) {
		slots <- struct{}{}
		client := dialTCP(t, addr)
		played[netip.MustParseAddrPort(client.LocalAddr().String())] = i
		work.Go(func() {
			defer func() { <-slots }()
			defer client.Close()
			h := draw(seed, i)
			if err := introduce(client, i); err != nil {
				t.Errorf("history %d: client: %v", i, err)
			} else if err := h.client.play(t, client, h.server); err != nil {
				t.Errorf("history %d: client: %v\n%+v", i, err, h)
			}
		})
	}
	return played
}

// playBackends plays the backends of n histories, in whatever order they come.
func playBackends(t *testing.T, l net.Listener, seed uint64, n int) {
	var work sync.WaitGroup
	defer work.Wait()
	for range n {
		conn, err := l.Accept()
		if err != nil {
			t.Errorf("backend: %v", err)
			return
		}
		server := conn.(stream)
		server.SetDeadline(time.Now().Add(2 * patience))
		work.Go(func() {
			defer server.Close()
			i, err := greet(server)
			if err != nil {
				t.Errorf("backend: %v", err)
				return
			}
			h := draw(seed, i)
			if err := h.server.play(t, server, h.client); err != nil {
				t.Errorf("history %d: backend: %v\n%+v", i, err, h)
			}
		})
	}
}

// greeting is the number of bytes, each way, before a history begins: its number.
// With its return the client knows that it is connected.
const greeting = 4

func introduce(client stream, i uint32) error {
	if err := binary.Write(client, binary.BigEndian, i); err != nil {
		return err
	}
	got, err := greetingOf(client)
	if err == nil && got != i {
		err = fmt.Errorf("greeting got %d; want %d", got, i)
	}
	return err
}

func greet(server stream) (uint32, error) {
	i, err := greetingOf(server)
	if err != nil {
		return 0, err
	}
	return i, binary.Write(server, binary.BigEndian, i)
}

func greetingOf(s stream) (i uint32, err error) {
	err = binary.Read(s, binary.BigEndian, &i)
	return i, err
}

// history is what the two peers of a session do.
type history struct{ client, server script }

// script is what one peer does: it sends its bytes in chunks, and meanwhile reads
// until the other's end.
type script struct {
	Offset, Bytes int64 // of the pattern
	Chunk         int64 // of a write
	Read          int64 // of a read
	StallAt       int64 // after so many bytes it pauses in reading
	Stall         time.Duration
	EndFirst      bool // it ends when it has sent everything, not after the other
	Reset         bool // it ends by a reset when it has sent everything, and reads nothing
}

// draw answers the i'th history of a seed.
func draw(seed uint64, i uint32) history {
	random := rand.New(rand.NewPCG(seed, uint64(i)))
	h := history{client: drawScript(random), server: drawScript(random)}
	switch random.IntN(8) {
	case 0:
		h.client.Reset = true
	case 1:
		h.server.Reset = true
	default: // one has to begin with the end
		h.client.EndFirst = h.client.EndFirst || !h.server.EndFirst
	}
	return h
}

func drawScript(random *rand.Rand) script {
	upTo := func(magnitudes int) int64 { return random.Int64N(1 << random.IntN(magnitudes)) }
	return script{
		Offset:   random.Int64N(period),
		Bytes:    upTo(23),
		Chunk:    1<<6 + upTo(18),
		Read:     1<<6 + upTo(18),
		StallAt:  upTo(23),
		Stall:    time.Duration(random.IntN(30)) * time.Millisecond,
		EndFirst: random.IntN(2) == 0,
	}
}

// play follows the script on conn and checks what arrives from a peer that follows
// theirs.
func (mine script) play(t *testing.T, conn stream, theirs script) error {
	sent := make(chan error, 1)
	go func() { sent <- mine.send(conn) }()
	if mine.Reset {
		err := <-sent
		flushed(t, conn)
		resetNow(conn)
		return err
	}
	reader := &pausing{Reader: conn, left: mine.StallAt, pause: mine.Stall}
	got, readErr := readPattern(reader, theirs.Offset, make([]byte, mine.Read))
	sendErr := <-sent
	if theirs.Reset {
		// What was under way to it is lost. Its reset comes as an end to a reader that
		// is slow, or that has met it in writing.
		sendErr, readErr = unlessBroken(sendErr), unlessBroken(readErr)
	}
	if got != theirs.Bytes {
		readErr = errors.Join(readErr, fmt.Errorf("received %d bytes; want %d", got, theirs.Bytes))
	}
	if err := errors.Join(readErr, sendErr); err != nil || mine.EndFirst || theirs.Reset {
		return err
	}
	return conn.CloseWrite()
}

func (mine script) send(conn stream) error {
	if err := sendPattern(conn, mine.Offset, mine.Bytes, mine.Chunk); err != nil {
		return err
	}
	if mine.EndFirst && !mine.Reset {
		return conn.CloseWrite()
	}
	return nil
}

// unlessBroken drops the errors of a connection that was reset.
func unlessBroken(err error) error {
	for _, broken := range []error{syscall.ECONNRESET, syscall.EPIPE, syscall.ENOTCONN} {
		if errors.Is(err, broken) {
			return nil
		}
	}
	return err
}

// pausing is a reader that pauses once.
type pausing struct {
	io.Reader
	left  int64 // bytes until the pause
	pause time.Duration
}

func (p *pausing) Read(b []byte) (int, error) {
	if p.left <= 0 {
		time.Sleep(p.pause)
		p.pause = 0
	}
	n, err := p.Reader.Read(b)
	p.left -= int64(n)
	return n, err
}

// judge checks a session's result against what its peers did.
func (h history) judge(r splice.Result) error {
	up, down := uint64(h.client.Bytes+greeting), uint64(h.server.Bytes+greeting)
	whole := r.Up == up && r.Down == down
	reasons := []splice.Reason{splice.ReasonClientClosed, splice.ReasonBackendClosed}
	switch {
	case h.client.Reset: // the server's end may have come first
		whole = r.Up == up && r.Down <= down
		reasons = []splice.Reason{splice.ReasonClientReset, splice.ReasonBackendClosed}
	case h.server.Reset:
		whole = r.Up <= up && r.Down == down
		reasons = []splice.Reason{splice.ReasonBackendReset, splice.ReasonClientClosed}
	}
	if !whole {
		return fmt.Errorf("result got %d bytes up, %d down; want %d and %d\n%+v", r.Up, r.Down, up, down, h)
	}
	if !slices.Contains(reasons, r.Reason) {
		return fmt.Errorf("result got reason %v (%v); want one of %v\n%+v", r.Reason, r.Err, reasons, h)
	}
	return nil
}
