package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/limeload/limeload/splice/loadgen"
)

// isTerminal tells whether w is one.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// clearLine goes to the line's begin and erases it (ECMA-48).
const clearLine = "\r\x1b[K"

// showProgress draws one line until the load's window is over.
func showProgress(w io.Writer, r *loadgen.Run) {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	last, at := r.Snapshot(), time.Now()
	for {
		select {
		case <-r.Ended():
			fmt.Fprint(w, clearLine)
			return
		case now := <-tick.C:
			s := r.Snapshot()
			fmt.Fprint(w, clearLine+progressLine(last, s, now.Sub(at)))
			last, at = s, now
		}
	}
}

// progressLine is what happened in the time between two snapshots.
func progressLine(a, b loadgen.Snapshot, took time.Duration) string {
	per := func(from, to uint64) float64 { return float64(to-from) / took.Seconds() }
	line := fmt.Sprintf("%s: %d open, %s op/s, up %s, down %s, %d errors", b.Phase, b.Open,
		countText(per(a.Operations, b.Operations)), bitsText(per(a.BytesUp, b.BytesUp)), bitsText(per(a.BytesDown, b.BytesDown)), b.Errors)
	if b.Behind > 0 {
		line += fmt.Sprintf(", %d behind", b.Behind)
	}
	return line
}
