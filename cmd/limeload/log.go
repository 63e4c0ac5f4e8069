package main

import (
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/logqueue"
	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"
)

// logQueue is how many lines may wait for the writer; those beyond are dropped and
// counted, because a log that nobody reads must not stop the traffic.
const logQueue = 8192

// logBatch is how many bytes of lines that wait are written at once.
const logBatch = 32 << 10

// logPatience is how long the program's end waits for the lines that are queued to be
// written: a log that nobody reads must not keep it from ending either.
const logPatience = time.Second

// newLogger writes to standard error, asynchronously. The function that comes with
// it writes what is queued, as far as it is read, and must be called before the program
// ends.
func newLogger(c *config.Log) (zerolog.Logger, func()) {
	zerolog.MessageFieldName = "msg"
	zerolog.ErrorFieldName = "error"
	zerolog.TimeFieldFormat = "2006-01-02T15:04:05.000Z07:00"
	zerolog.DurationFieldUnit = time.Second
	level, err := zerolog.ParseLevel(c.Level)
	if err != nil {
		level = zerolog.InfoLevel // Validate has seen to it
	}
	out, batch := format(os.Stderr, c.Format)
	queue := logqueue.New(out, logQueue, batch, tellDropped)
	log := zerolog.New(queue).Level(level).With().Timestamp().Logger()
	return log, func() { finish(queue) }
}

func finish(queue io.Closer) {
	written := make(chan struct{})
	go func() {
		queue.Close()
		close(written)
	}()
	select {
	case <-written:
	case <-time.After(logPatience):
	}
}

// outliveReader has writes to a log that nobody reads any more fail. Without a handler
// they would end the program by SIGPIPE (os/signal), and with it every session.
func outliveReader() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// format answers the writer for lines of JSON, and how many bytes of them it takes at
// once: the one that makes them readable takes one line at a time.
func format(f *os.File, format string) (out io.Writer, batch int) {
	terminal := isatty.IsTerminal(f.Fd())
	if format == config.FormatJSON || format == config.FormatAuto && !terminal {
		return f, logBatch
	}
	return zerolog.ConsoleWriter{Out: f, TimeFormat: "15:04:05.000", NoColor: !terminal || os.Getenv("NO_COLOR") != ""}, 0
}

func tellDropped(out io.Writer, lines int64) {
	log := zerolog.New(out).With().Timestamp().Logger()
	log.Warn().Int64("lines", lines).Msg("log lines dropped")
}
