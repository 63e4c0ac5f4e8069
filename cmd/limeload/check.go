package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"syscall"
	"time"

	"github.com/limeload/limeload/healthcheck"
	"github.com/limeload/limeload/pkg/check"
	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/disk"
	"github.com/spf13/cobra"
)

// checkOptions are the flags of check.
type checkOptions struct {
	file, pool, output string
	timeout, interval  time.Duration
	count              int
	watch              bool
	probe              probeFlags
}

func newCheck() *cobra.Command {
	var o checkOptions
	c := &cobra.Command{
		Use:   "check [-c FILE [--pool NAME]] [TARGET]...",
		Short: "Probe backends once and tell who is up",
		Long: `Probe targets side by side and print a line for each: those of the command line,
or with -c exactly what the file has probed.

A line tells how long each phase took, and what the server said of itself: role, lag,
timeline, version, and how long its certificate is valid.

Exit status: 0 all are up, 1 one is down, 2 usage or configuration, 3 could not tell.`,
		Example: `  limeload check 10.0.0.11:5432 10.0.0.12:5432
  limeload check --type icmp 10.0.0.11
  limeload check --type postgres --user probe --password-file pw --role primary db1:5432 db2:5432
  limeload check --type https --path /healthz --status 200 web:443
  limeload check --type send-expect --send 'PING\r\n' --expect +PONG cache:6379
  limeload check -c /etc/limeload/limeload.toml --pool postgres -o json
  limeload check -c /etc/limeload/limeload.toml --watch`,
		RunE: func(c *cobra.Command, args []string) error {
			targets, err := o.targets(args, c.Flags().Changed)
			if err != nil {
				return usage(err)
			}
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return o.run(ctx, c.OutOrStdout(), targets)
		},
	}
	f := c.Flags()
	f.StringVarP(&o.file, "config", "c", "", "probe the backends of this configuration `file`")
	f.StringVar(&o.pool, "pool", "", "only this pool of the file, by `name`")
	f.DurationVar(&o.timeout, "timeout", time.Second, "`duration` that one probe may take")
	f.IntVar(&o.count, "count", 1, "`number` of probes of each target; all must pass")
	f.DurationVar(&o.interval, "interval", time.Second, "`duration` from one probe to the next")
	f.BoolVarP(&o.watch, "watch", "w", false, "probe until interrupted, and print what changes")
	f.StringVarP(&o.output, "output", "o", "text", "`format`: text, json")
	o.probe.add(f)
	return c
}

// targets reads the arguments; changed tells which flags were given.
func (o *checkOptions) targets(args []string, changed func(string) bool) ([]check.Target, error) {
	probeFlag, withProbe := o.probe.given(changed)
	switch {
	case o.output != "text" && o.output != "json":
		return nil, fmt.Errorf("--output %s: want text or json", o.output)
	case o.count < 1:
		return nil, fmt.Errorf("--count %d: want 1 or more", o.count)
	case o.watch && changed("count"):
		return nil, errors.New("--watch and --count do not go together")
	case o.timeout <= 0:
		return nil, fmt.Errorf("--timeout %s: want more than 0s", o.timeout)
	case o.interval < 0:
		return nil, fmt.Errorf("--interval %s: want 0s or more", o.interval)
	case o.file == "" && o.pool != "":
		return nil, errors.New("--pool needs -c FILE")
	case o.file == "" && len(args) == 0:
		return nil, errors.New("check: which targets? Name some as host:port, or use -c FILE")
	case o.file != "" && len(args) > 0:
		return nil, errors.New("check: targets and -c FILE do not go together")
	case o.file != "" && withProbe:
		return nil, fmt.Errorf("--%s does not go with -c FILE, which says how to probe", probeFlag)
	case o.file != "":
		return o.fileTargets(changed("timeout"))
	}
	probe, err := o.probe.probe(changed)
	if err != nil {
		return nil, err
	}
	return check.ParseTargets(args, config.Health{Probe: probe, Timeout: o.timeout})
}

func (o *checkOptions) fileTargets(withTimeout bool) ([]check.Target, error) {
	cfg, err := loadConfig(context.Background(), &disk.Disk{}, o.file, nil)
	if err != nil {
		return nil, err
	}
	if o.pool != "" && cfg.Pool(o.pool) == nil {
		return nil, fmt.Errorf("--pool: no pool %q in the file", o.pool)
	}
	targets, err := check.FromConfig(cfg, o.pool)
	for i := range targets {
		if withTimeout {
			targets[i].Health.Timeout = o.timeout
		}
	}
	return targets, err
}

func (o *checkOptions) run(ctx context.Context, w io.Writer, targets []check.Target) error {
	latest := make([]check.Outcome, 0, len(targets)*o.count)
	print, rounds := o.printer(w, targets), o.count
	if o.watch {
		rounds = 0
		print = changesOnly(print)
	}
	check.Run(ctx, targets, rounds, o.interval, func(out check.Outcome) {
		switch {
		case o.watch && out.Result.Reason == healthcheck.ReasonCanceled:
			return // interrupted: nothing new is known
		case o.watch && len(latest) == len(targets):
			latest = latest[1:]
		}
		latest = append(latest, out)
		print(&out)
	})
	if o.output == "json" && !o.watch {
		printJSON(w, latest)
	}
	switch check.Verdict(latest) {
	case healthcheck.Down:
		return &exitError{status: exitFailed}
	case healthcheck.Unknown:
		return &exitError{status: exitUnknown}
	}
	return nil
}

// printer prints outcomes as they come; but JSON, which is one document, at the end.
func (o *checkOptions) printer(w io.Writer, targets []check.Target) func(*check.Outcome) {
	switch {
	case o.output == "text":
		return textPrinter(w, targets, o.watch)
	case o.watch:
		return jsonLinePrinter(w)
	}
	return func(*check.Outcome) {}
}

// changesOnly calls print with what differs from the outcome before of the same target:
// in the verdict and its reason, or in what a server is. How long phases took and how far a
// replica is behind differ each time.
func changesOnly(print func(*check.Outcome)) func(*check.Outcome) {
	type essence struct {
		verdict       healthcheck.Verdict
		reason        healthcheck.Reason
		facts         healthcheck.Facts
		text, warning string
	}
	last := map[*check.Target]essence{}
	return func(o *check.Outcome) {
		now := essence{verdict: o.Result.Verdict, reason: o.Result.Reason, facts: o.Result.Facts, warning: o.Result.Warning}
		now.facts.Lag, now.facts.HasLag = healthcheck.Lag{}, false
		if now.reason == healthcheck.ReasonLag {
			now.facts.Share = 0
		} else {
			now.text = o.Why()
		}
		if before, seen := last[o.Target]; !seen || before != now {
			last[o.Target] = now
			print(o)
		}
	}
}
