//go:build linux && simkernel

package splice

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestSimResetOverUnreadBytes: a backend answers an upload that it does not read, and
// resets. The client, which is slow to read, still gets the whole answer, although
// much more of its upload than one turn's budget lies unread in the kernel.
func TestSimResetOverUnreadBytes(t *testing.T) {
	const answer = 100
	w := newWorld(taped(nil), true)
	w.l.buf = make([]byte, bufferSize)
	w.mayHold = bufferSize
	w.k.RcvBuf, w.k.SndBuf = 600<<10, 4096
	defer func() {
		if v := recover(); v != nil {
			t.Fatalf("%v\n%v", v, w.trace)
		}
	}()

	w.connect()
	w.settle()
	client, backend := w.hosts[0], w.hosts[1]
	backend.accept()
	w.settle()
	client.send(client.conn.Window())
	w.settle()
	backend.send(answer)
	backend.breakOff(unix.ECONNRESET)
	w.settle()
	if n := client.conn.Queued(); n < turnBudget {
		t.Fatalf("%d bytes of the upload are unread; want more than %d for this test", n, turnBudget)
	}
	w.pass(resetPatience) // the loop was busy elsewhere
	w.settle()
	client.take(answer)
	if client.got != answer || !client.sawEnd {
		t.Errorf("the client got %d bytes, end %v; want %d and the end behind them", client.got, client.sawEnd, answer)
	}
}
