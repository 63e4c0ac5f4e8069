package main

import (
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/limeload/limeload/pkg/config"
	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"
	"github.com/rs/zerolog/diode"
)

// logQueue is how many lines may wait for the writer; those beyond are dropped and
// counted, because a log that nobody reads must not stop the traffic.
const logQueue = 8192

// logPoll is how often the writer looks for lines. Without polling it waits for a
// signal that diode gives without its lock, and that gets lost now and then: the
// line then stays in the queue until there is another one.
const logPoll = 10 * time.Millisecond

// newLogger writes to standard error, asynchronously. The function that comes with
// it writes what is queued and must be called before the program ends.
func newLogger(c *config.Log) (zerolog.Logger, func()) {
	zerolog.MessageFieldName = "msg"
	zerolog.ErrorFieldName = "error"
	zerolog.TimeFieldFormat = "2006-01-02T15:04:05.000Z07:00"
	zerolog.DurationFieldUnit = time.Second
	level, err := zerolog.ParseLevel(c.Level)
	if err != nil {
		level = zerolog.InfoLevel // Validate has seen to it
	}
	out := &lossyWriter{out: format(os.Stderr, c.Format)}
	queue := diode.NewWriter(out, logQueue, logPoll, out.lost)
	log := zerolog.New(queue).Level(level).With().Timestamp().Logger()
	return log, sync.OnceFunc(func() {
		queue.Close()
		out.report()
	})
}

func format(f *os.File, format string) io.Writer {
	if format == config.FormatJSON || format == config.FormatAuto && !isatty.IsTerminal(f.Fd()) {
		return f
	}
	return zerolog.ConsoleWriter{Out: f, TimeFormat: "15:04:05.000", NoColor: !isatty.IsTerminal(f.Fd()) || os.Getenv("NO_COLOR") != ""}
}

// lossyWriter says, before the next line that is written, how many were dropped.
type lossyWriter struct {
	out     io.Writer
	dropped atomic.Int64
}

func (w *lossyWriter) lost(n int) { w.dropped.Add(int64(n)) }

func (w *lossyWriter) Write(line []byte) (int, error) {
	w.report()
	return w.out.Write(line)
}

func (w *lossyWriter) report() {
	if n := w.dropped.Swap(0); n > 0 {
		log := zerolog.New(w.out).With().Timestamp().Logger()
		log.Warn().Int64("lines", n).Msg("log lines dropped")
	}
}
