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

// compareFlags are the flags of compare, as given.
type compareFlags struct {
	limeload, output string
	rows, work       []string
	rounds, threads  int
	duration, warmup time.Duration
	idle             int
	quick            bool
}

func newCompare() *cobra.Command {
	var f compareFlags
	cmd := &cobra.Command{
		Use:   "compare",
		Short: "Compare limeload, HAProxy and nginx on this machine",
		Long: `compare starts limeload and, as far as they are installed, HAProxy and nginx, each
in front of the same server, and puts each in turn under the same load: bulk
transfers, ping-pong, short connections, idle connections. It takes about a quarter
of an hour; --quick gives a rough answer in about two minutes.

Rows: ` + strings.Join(rowNames(), ", ") + `
  direct is the load without a proxy between: what the machine can do at all.
  limeload-log writes a line for every session; nobody else logs anything.
  limeload-limits asks an access list and every limit, of which none refuses anybody.
  haproxy-splice-1m (only if asked for) has pipes as large as limeload's.

Work: ` + strings.Join(lineNames(), ", ") + `
  A name without its last parts stands for all that begin like it.

All have the same number of threads and the same backends; the configurations are
printed. Client, proxy and server share this machine: read the figures as ratios.
Rows take turns within each round, and a ratio is formed within a round; what is
printed is the median over the rounds and the range. CPU is the proxy's own (user and
system) and the whole machine's, for one unit of work. Memory is what one more idle
connection takes beyond the first 1000.

HAPROXY and NGINX in the environment name other builds; nginx has to be 1.21.4 or
later, with the stream module. As root, more idle connections are possible: the limit
of file descriptors is raised.`,
		Example: `  limebench compare --quick
  limebench compare --rounds 7 -o json > bench.json
  limebench compare --work pingpong,connect-64 --rows direct,limeload,nginx
  HAPROXY=/opt/haproxy-3.2/haproxy limebench compare --limeload bin/limeload`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.output != "text" && f.output != "json" {
				return fmt.Errorf("unknown output %q: want text or json", f.output)
			}
			f.hurry(cmd)
			c, about, err := f.prepare(cmd.Context())
			if err != nil {
				return err
			}
			return failed(f.compare(cmd, c, about))
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.limeload, "limeload", "", "limeload `program` (default: beside this one, or in $PATH)")
	flags.StringSliceVar(&f.rows, "rows", nil, "only these `rows`")
	flags.StringSliceVar(&f.work, "work", nil, "only this `work`")
	flags.IntVar(&f.rounds, "rounds", 5, "rounds")
	flags.DurationVarP(&f.duration, "duration", "d", 1200*time.Millisecond, "how long to measure one row at one piece of work")
	flags.DurationVar(&f.warmup, "warmup", 300*time.Millisecond, "how long to make load before that")
	flags.IntVarP(&f.threads, "threads", "t", runtime.NumCPU(), "threads of every proxy, of the server and of the load")
	flags.IntVar(&f.idle, "idle", 10_000, "idle connections, as far as the limit of file descriptors allows; more than 1000")
	flags.BoolVar(&f.quick, "quick", false, "2 rounds of 250ms, 3000 idle connections, unless told otherwise")
	flags.StringVarP(&f.output, "output", "o", "text", "text or json")
	return cmd
}

// hurry gives what was not given the values of --quick.
func (f *compareFlags) hurry(cmd *cobra.Command) {
	if !f.quick {
		return
	}
	given := cmd.Flags().Changed
	if !given("rounds") {
		f.rounds = 2
	}
	if !given("duration") {
		f.duration = 250 * time.Millisecond
	}
	if !given("warmup") {
		f.warmup = 100 * time.Millisecond
	}
	if !given("idle") {
		f.idle = 3000
	}
}

// prepare finds the programs and checks the flags.
func (f *compareFlags) prepare(ctx context.Context) (*comparison, about, error) {
	c := &comparison{rounds: f.rounds, duration: f.duration, warmup: f.warmup, threads: f.threads, rest: max(2*f.duration, 2*time.Second)}
	a := about{Begun: time.Now(), Machine: thisMachine(), Versions: map[string]string{"limebench": "limebench " + versionText()}}
	if f.rounds < 1 || f.threads < 1 || f.duration <= 0 || f.warmup < 0 || f.idle <= idleBase {
		return nil, a, fmt.Errorf("want at least 1 round and 1 thread, some time, and more than %d idle connections", idleBase)
	}
	var err error
	if c.lines, err = selectLines(f.work); err != nil {
		return nil, a, err
	}
	limeload, err1 := findLimeload(ctx, f.limeload)
	haproxy, err2 := findHAProxy(ctx)
	nginx, err3 := findNginx(ctx)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, a, failed(err)
	}
	if c.rows, a.Missing, err = selectRows(contestants(limeload, haproxy, nginx), f.rows); err != nil {
		return nil, a, err
	}
	if len(c.rows) == 0 {
		return nil, a, failed(errors.New("nothing to compare: " + strings.Join(a.Missing, "; ")))
	}
	for _, r := range c.rows {
		if r.program != nil {
			a.Versions[r.program.name] = r.program.version
		}
	}
	c.limitIdle(f.idle)
	return c, a, nil
}

// limitIdle sets the number of idle connections to n, or to what the limit of file
// descriptors allows every proxy.
func (c *comparison) limitIdle(n int) {
	limit, err := loadgen.RaiseFileLimit(uint64(setup{Sessions: n + spareSessions}.Descriptors()))
	if err == nil {
		n = min(n, sessionsWithin(int(limit))-spareSessions)
	}
	c.idle = max(n, idleBase+1)
	c.lines = append([]line(nil), c.lines...)
	for i := range c.lines {
		if c.lines[i].work.Mode == loadgen.Idle {
			c.lines[i].work.Connections = c.idle
		}
	}
}

// compare runs it and prints what came out, which after a signal is what there is
// so far.
func (f *compareFlags) compare(cmd *cobra.Command, c *comparison, a about) error {
	c.progress = progressTo(cmd.ErrOrStderr(), c.rounds*len(c.lines)*len(c.rows))
	err := unlessInterrupted(c.run(cmd.Context()))
	if isTerminal(cmd.ErrOrStderr()) {
		fmt.Fprint(cmd.ErrOrStderr(), clearLine)
	}
	a.Took = seconds(time.Since(a.Begun))
	r := newReport(c, a)
	if f.output == "json" {
		err = errors.Join(err, writeJSON(cmd.OutOrStdout(), r))
	} else {
		_, e := io.WriteString(cmd.OutOrStdout(), r.text())
		err = errors.Join(err, e)
	}
	return errors.Join(err, r.err())
}

// progressTo shows what is measured, and how long all will take: on a terminal in one
// line, elsewhere not at all.
func progressTo(w io.Writer, steps int) func(string, ...any) {
	if !isTerminal(w) {
		return func(string, ...any) {}
	}
	begun, done := time.Now(), 0
	return func(format string, args ...any) {
		left := ""
		if done > 0 {
			left = fmt.Sprintf(" (%s left)", (time.Since(begun) / time.Duration(done) * time.Duration(steps-done)).Round(time.Second))
		}
		done++
		fmt.Fprintf(w, clearLine+format+"%s", append(args, left)...)
	}
}
