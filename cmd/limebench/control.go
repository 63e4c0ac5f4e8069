package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/limeload/limeload/splice/loadgen"
)

func newControl() *cobra.Command {
	var f struct {
		limeload, output string
		c                control
	}
	cmd := &cobra.Command{
		Use:   "control",
		Short: "Measure limeload's control plane under load, and what it costs the load",
		Long: `control starts limeload with many pools and backends, and a server behind one of
them, and asks two questions.

What does a scrape cost? Ping-pong on 64 connections runs with and without somebody
who scrapes /metrics as Prometheus does (OpenMetrics, gzip), in turns; the ratio of
the p99 is formed within a round. One scrape takes a fixed time, so it matters how
long a round lasts in comparison with --every.

How long does the API take while bytes move? GET /api/v1/status is asked for every
20 ms under several loads.

Who asks is a process of its own. It stands for a program on another machine, so by
default a scraper runs at a low priority (nice 19) and takes no time from the load,
and one that asks the API at the highest that it may have, so that the time is
limeload's and not its own. --fair leaves both at the priority of everything else.`,
		Example: `  limebench control
  limebench control --rounds 12 --duration 4s --every 1s
  limebench control --rounds 4 --duration 15s --every 15s`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c := &f.c
			if c.rounds < 1 || c.threads < 1 || c.duration <= 0 || c.every <= 0 || c.pools < 1 || c.pools > 200 || c.backends < c.pools || c.backends > 250*c.pools {
				return errors.New("want at least 1 round and 1 thread, some time, 1 to 200 pools, and 1 to 250 backends for each")
			}
			p, err := findLimeload(cmd.Context(), f.limeload)
			if err != nil {
				return failed(err)
			}
			c.limeload = p.path
			fmt.Fprintln(cmd.OutOrStdout(), p.version)
			return failed(c.run(cmd.Context(), cmd.OutOrStdout()))
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.limeload, "limeload", "", "limeload `program` (default: beside this one, or in $PATH)")
	flags.IntVar(&f.c.rounds, "rounds", 6, "rounds with and without scrapes")
	flags.DurationVarP(&f.c.duration, "duration", "d", 4*time.Second, "how long to measure each time")
	flags.DurationVar(&f.c.every, "every", time.Second, "time from one scrape to the next")
	flags.IntVar(&f.c.pools, "pools", 100, "pools, with a listener each")
	flags.IntVar(&f.c.backends, "backends", 10_000, "backends of all pools together")
	flags.IntVarP(&f.c.threads, "threads", "t", runtime.NumCPU(), "threads of the proxy, of the server and of the load")
	flags.BoolVar(&f.c.fair, "fair", false, "who asks has the priority of everything else")
	return cmd
}

// run prints what it measures when it is there.
func (c *control) run(ctx context.Context, out io.Writer) error {
	if err := c.start(ctx); err != nil {
		return err
	}
	defer c.stop()
	if err := c.scrapes(ctx, out); err != nil {
		return err
	}
	if err := c.questions(ctx, out); err != nil {
		return err
	}
	if len(c.troubles) > 0 {
		return errors.New(strings.Join(c.troubles, "\n"))
	}
	return nil
}

// loads are those under which the API is asked.
var loads = []struct {
	name string
	work loadgen.Work // none without connections
}{
	{"nothing", loadgen.Work{}},
	{"ping-pong, 64 connections", loadgen.Work{Mode: loadgen.PingPong, Connections: 64}},
	{"ping-pong, 512 connections", loadgen.Work{Mode: loadgen.PingPong, Connections: 512}},
	{"bulk download, 8 streams", loadgen.Work{Mode: loadgen.Download, Connections: 8}},
	{"bulk upload, 150 clients", loadgen.Work{Mode: loadgen.Upload, Connections: 150}},
	{"connect + echo + close, 64 at once", loadgen.Work{Mode: loadgen.Connect, Connections: 64}},
}
