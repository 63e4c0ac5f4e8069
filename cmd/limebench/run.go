package main

import (
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"github.com/limeload/limeload/splice/loadgen"
)

// runFlags are the flags of run, as given.
type runFlags struct {
	mode, verify, output      string
	connections, threads      int
	size                      size
	rate                      float64
	duration, warmup, timeout time.Duration
	sources                   []string
	plain, noProgress         bool
}

func newRun() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run [flags] HOST:PORT...",
		Short: "Make load against a TCP server or proxy, and measure it",
		Long: `run opens connections to one or more addresses and measures for a while.

What the connections do (--mode):

  pingpong   send a message, wait for its echo, and so on; the server must echo
  connect    open, exchange one message, close, and so on; the server must echo
  upload     send without end     ("limebench serve" at the other end, or --plain)
  download   receive without end  ("limebench serve" at the other end)
  idle       exchange one message, then keep still
  mixed      of 8 connections: 5 pingpong, 1 connect, 1 upload, 1 download

All bytes that come back are compared with what they must be. Latency is the time
from when an operation was due until it is done. Without --rate an operation is due
when the one before it on the same connection is done: that tells how fast the server
can be. With --rate operations are due by the clock, whether or not the server has
kept up, and their wait counts: that tells what clients suffer at that load. An
operation that --timeout ends counts with that time, and as an error. In mixed load
the rate is that of ping-pong.

Interrupted, run ends its connections and tells what it has measured so far. The exit
status is 1 if anything went wrong, be it one connection.`,
		Example: `  limebench run 127.0.0.1:7007
  limebench run --connections 512 --size 4KiB --duration 30s 127.0.0.1:7007
  limebench run --mode connect --rate 2000 127.0.0.1:7007
  limebench run --mode idle -c 50000 --source 127.0.0.2 --source 127.0.0.3 127.0.0.1:7007
  limebench run --mode download -c 1 -o json 127.0.0.1:7007`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := f.options(args)
			if err != nil {
				return err
			}
			if f.output != "text" && f.output != "json" {
				return fmt.Errorf("unknown output %q: want text or json", f.output)
			}
			return failed(f.run(cmd, o))
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.mode, "mode", "m", "pingpong", "what connections do: pingpong, connect, upload, download, idle or mixed")
	flags.IntVarP(&f.connections, "connections", "c", 8, "connections at once")
	flags.VarP(&f.size, "size", "s", "message, or in bulk read and write, in bytes (default 64, in bulk 256KiB)")
	flags.DurationVarP(&f.duration, "duration", "d", 10*time.Second, "how long to measure")
	flags.DurationVar(&f.warmup, "warmup", 500*time.Millisecond, "how long to make load before that")
	flags.Float64VarP(&f.rate, "rate", "r", 0, "operations a `second`, all connections together; 0 is as fast as the server allows")
	flags.IntVarP(&f.threads, "threads", "t", 0, "loops; 0 is one for each CPU, at most one for each connection")
	flags.StringArrayVar(&f.sources, "source", nil, "local `address` to connect from; may be given several times")
	flags.StringVar(&f.verify, "verify", "full", "how much of what comes back to compare: full, sample (1 read in 17) or none")
	flags.DurationVar(&f.timeout, "timeout", 5*time.Second, "how long a connect, or an operation without progress, may take")
	flags.BoolVar(&f.plain, "plain", false, "send nothing to choose the server's role: for servers that have only one")
	flags.StringVarP(&f.output, "output", "o", "text", "text or json")
	flags.BoolVar(&f.noProgress, "no-progress", false, "no progress line, not on a terminal either")
	return cmd
}

// options is what the flags ask for.
func (f *runFlags) options(targets []string) (o loadgen.Options, err error) {
	o = loadgen.Options{Duration: f.duration, Warmup: f.warmup, Timeout: f.timeout, Threads: f.threads, Plain: f.plain}
	if o.Verify, err = loadgen.ParseVerify(f.verify); err != nil {
		return o, err
	}
	if o.Works, err = f.works(); err != nil {
		return o, err
	}
	if o.Targets, err = resolve(targets); err != nil {
		return o, err
	}
	for _, s := range f.sources {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return o, fmt.Errorf("source: %w", err)
		}
		o.Sources = append(o.Sources, a)
	}
	return o, o.Check()
}

func (f *runFlags) works() ([]loadgen.Work, error) {
	if f.mode == "mixed" {
		if f.connections < 4 {
			return nil, fmt.Errorf("mixed: %d connections: want at least 4, one for each kind", f.connections)
		}
		return loadgen.Mixed(f.connections, int(f.size), f.rate), nil
	}
	mode, err := loadgen.ParseMode(f.mode)
	if err != nil {
		return nil, fmt.Errorf("%w or mixed", err)
	}
	return []loadgen.Work{{Mode: mode, Connections: f.connections, Size: int(f.size), Rate: f.rate}}, nil
}

func (f *runFlags) run(cmd *cobra.Command, o loadgen.Options) error {
	// What cannot be raised shows when the connections are opened.
	_, _ = loadgen.RaiseFileLimit(uint64(f.connections) + 100)
	r, err := loadgen.Start(cmd.Context(), o)
	if err != nil {
		return err
	}
	if !f.noProgress && isTerminal(cmd.ErrOrStderr()) {
		showProgress(cmd.ErrOrStderr(), r)
	}
	res, err := r.Wait()
	if err != nil {
		return unlessInterrupted(err)
	}
	if err := printRun(cmd.OutOrStdout(), f.output, newRunRecord(o, res)); err != nil {
		return err
	}
	return res.Err()
}

func printRun(w io.Writer, format string, r runRecord) error {
	if format == "json" {
		return writeJSON(w, r)
	}
	_, err := io.WriteString(w, r.text())
	return err
}
