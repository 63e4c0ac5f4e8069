package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/limeload/limeload/healthcheck"
	"github.com/limeload/limeload/pkg/check"
	"github.com/limeload/limeload/pkg/config"
	"github.com/spf13/cobra"
)

// checkOptions are the flags of check.
type checkOptions struct {
	file, pool, kind, output string
	timeout, interval        time.Duration
	count                    int
}

func newCheck() *cobra.Command {
	var o checkOptions
	c := &cobra.Command{
		Use:   "check [-c FILE [--pool NAME]] [TARGET]...",
		Short: "Probe backends once and tell who is up",
		Long: `Probe targets side by side and print a line for each: those of the command line,
or with -c exactly what the file has probed.

Exit status: 0 all are up, 1 one is down, 2 usage or configuration, 3 could not tell.`,
		Example: `  limeload check 10.0.0.11:5432 10.0.0.12:5432
  limeload check --type icmp 10.0.0.11
  limeload check -c /etc/limeload/limeload.toml --pool postgres -o json`,
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
	f.StringVar(&o.kind, "type", config.HealthTCP, "`type` of probe for targets: tcp, icmp")
	f.DurationVar(&o.timeout, "timeout", time.Second, "`duration` that one probe may take")
	f.IntVar(&o.count, "count", 1, "`number` of probes of each target; all must pass")
	f.DurationVar(&o.interval, "interval", time.Second, "`duration` from one probe to the next")
	f.StringVarP(&o.output, "output", "o", "text", "`format`: text, json")
	return c
}

// targets reads the arguments; changed tells which flags were given.
func (o *checkOptions) targets(args []string, changed func(string) bool) ([]check.Target, error) {
	switch {
	case o.output != "text" && o.output != "json":
		return nil, fmt.Errorf("--output %s: want text or json", o.output)
	case o.kind != config.HealthTCP && o.kind != config.HealthICMP:
		return nil, fmt.Errorf("--type %s: want tcp or icmp", o.kind)
	case o.count < 1:
		return nil, fmt.Errorf("--count %d: want 1 or more", o.count)
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
	case o.file != "" && changed("type"):
		return nil, errors.New("--type does not go with -c FILE, which says how to probe")
	case o.file != "":
		return o.fileTargets(changed("timeout"))
	}
	health := config.DefaultPool().Health
	health.Type, health.Timeout = o.kind, o.timeout
	var targets []check.Target
	for _, a := range args {
		t, err := check.ParseTarget(a, health)
		if err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	return targets, nil
}

func (o *checkOptions) fileTargets(withTimeout bool) ([]check.Target, error) {
	cfg, err := loadConfig(o.file, nil)
	if err != nil {
		return nil, err
	}
	targets, err := check.FromConfig(cfg, o.pool)
	if err != nil {
		return nil, fmt.Errorf("--pool: %w", err)
	}
	for i := range targets {
		if withTimeout {
			targets[i].Health.Timeout = o.timeout
		}
	}
	return targets, nil
}

func (o *checkOptions) run(ctx context.Context, w io.Writer, targets []check.Target) error {
	var all []check.Outcome
	print := textPrinter(w, targets)
	check.Run(ctx, targets, o.count, o.interval, func(out check.Outcome) {
		all = append(all, out)
		if o.output == "text" {
			print(&out)
		}
	})
	if o.output == "json" {
		printJSON(w, all)
	}
	switch check.Verdict(all) {
	case healthcheck.Down:
		return &exitError{status: exitFailed}
	case healthcheck.Unknown:
		return &exitError{status: exitUnknown}
	}
	return nil
}

// textPrinter prints a line per outcome, in columns as wide as the targets need.
func textPrinter(w io.Writer, targets []check.Target) func(*check.Outcome) {
	width := 0
	for i := range targets {
		width = max(width, len(label(&targets[i])))
	}
	return func(o *check.Outcome) {
		fmt.Fprintf(w, "%-*s  %-4s  %s\n", width, label(o.Target), o.Verdict, detail(o))
	}
}

func label(t *check.Target) string {
	switch {
	case t.Pool == "":
		return t.Name()
	case t.Backend == t.Name():
		return t.Pool + "/" + t.Backend
	}
	return t.Pool + "/" + t.Backend + " " + t.Name()
}

// detail is what took how long, or what is wrong.
func detail(o *check.Outcome) string {
	if o.Verdict != healthcheck.Up {
		if o.Took == 0 {
			return o.Reason
		}
		return fmt.Sprintf("%s (%s)", o.Reason, milliseconds(o.Took))
	}
	phases := make([]string, len(o.Phases))
	for i, p := range o.Phases {
		phases[i] = p.Name + " " + milliseconds(p.Took)
	}
	return strings.Join(phases, ", ")
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1fms", float64(d)/float64(time.Millisecond))
}

// outcomeJSON is what scripts read: fields are added, never renamed.
type outcomeJSON struct {
	Target  string      `json:"target"`
	Pool    string      `json:"pool"`
	Backend string      `json:"backend"`
	Round   int         `json:"round"`
	State   string      `json:"state"`
	Reason  string      `json:"reason"`
	Took    float64     `json:"took_ms"`
	Phases  []phaseJSON `json:"phases"`
}

type phaseJSON struct {
	Name string  `json:"name"`
	Took float64 `json:"ms"`
}

func printJSON(w io.Writer, outcomes []check.Outcome) {
	rows := make([]outcomeJSON, len(outcomes))
	for i, o := range outcomes {
		rows[i] = outcomeJSON{
			Target: o.Target.Name(), Pool: o.Target.Pool, Backend: o.Target.Backend, Round: o.Round,
			State: o.Verdict.String(), Reason: o.Reason, Took: float64(o.Took) / 1e6, Phases: []phaseJSON{},
		}
		for _, p := range o.Phases {
			rows[i].Phases = append(rows[i].Phases, phaseJSON{p.Name, float64(p.Took) / 1e6})
		}
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.Encode(rows)
}
