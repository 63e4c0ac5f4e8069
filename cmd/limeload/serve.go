package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/disk"
	"github.com/limeload/limeload/pkg/server"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func newServe() *cobra.Command {
	var file string
	var flags config.Flags
	var watched bool
	c := &cobra.Command{
		Use:   "serve [-c FILE [--watch]] [--listen ADDR]... [--backend ADDR]...",
		Short: "Run the load balancer",
		Long: `Run the load balancer with a file, with flags, or with both: flags win.

SIGHUP reads the file again and changes what differs, without losing a connection;
a file with problems changes nothing. With --watch that happens by itself when the
file has changed. SIGTERM or SIGINT stops accepting, lets sessions end for the drain
timeout, and exits with 0; a second one exits at once with 1.`,
		Example: `  limeload serve --listen :5432 --backend 10.0.0.11:5432,name=pg-1,weight=2 --backend 10.0.0.12:5432
  limeload serve -c /etc/limeload/limeload.toml --log-level debug`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return serve(serving{
				load: func(ctx context.Context, d *disk.Disk) (*config.Config, error) {
					return loadConfig(ctx, d, file, &flags)
				},
				file: file, watch: watched,
			})
		},
	}
	c.Flags().StringVarP(&file, "config", "c", "", "configuration `file`")
	c.Flags().BoolVar(&watched, "watch", false, "reload when the file changes")
	serveFlags(c.Flags(), &flags)
	return c
}

// serveFlags binds what config.Flags explains. Values stay texts: config parses
// them and words the problems like those of a file.
func serveFlags(fs *pflag.FlagSet, f *config.Flags) {
	fs.StringArrayVar(&f.Listen, "listen", nil, "`address` to listen on: :5432, 10.0.0.1:5432, [::1]:5432, unix:/path (repeatable)")
	fs.StringArrayVar(&f.Backend, "backend", nil, "backend: `ADDR[,name=N][,weight=W][,max=M][,backup]` (repeatable)")
	text := func(p **string, name, usage string) { fs.Var(optional{p}, name, usage) }
	text(&f.Algorithm, "algorithm", "`name` or chain: least-connections, ip-hash, round-robin, random-two, first")
	text(&f.Health, "health", "`type` of probes: tcp, icmp, none")
	text(&f.HealthInterval, "health-interval", "`duration` from one probe to the next")
	text(&f.ConnectTimeout, "connect-timeout", "`duration` that one attempt to connect may take")
	text(&f.IdleTimeout, "idle-timeout", "`duration` without a byte after which a session ends; 0s = never")
	text(&f.DrainTimeout, "drain-timeout", "`duration` that sessions have to end when the process stops")
	text(&f.User, "user", "`name` of the user that root becomes once the listeners are bound")
	text(&f.Group, "group", "`name` of the group that goes with it; default: the user's own")
	text(&f.Engine, "engine", "`type` of engine: auto, splice, copy")
	text(&f.Threads, "threads", "`number` of loops; 0 = one per CPU")
	text(&f.Admin, "admin", "`address` of the admin API: 127.0.0.1:5480, unix:/path, \"\" = off")
	text(&f.LogLevel, "log-level", "`level`: trace, debug, info, warn, error")
	text(&f.LogFormat, "log-format", "`format`: auto, json, console")
}

// optional is a text flag that stays nil unless it is given.
type optional struct{ p **string }

func (o optional) String() string {
	if o.p == nil || *o.p == nil {
		return ""
	}
	return **o.p
}
func (o optional) Set(s string) error { *o.p = &s; return nil }
func (o optional) Type() string       { return "string" }

// loadConfig lays defaults, file and flags over one another. The file is on d.
func loadConfig(ctx context.Context, d *disk.Disk, file string, flags *config.Flags) (*config.Config, error) {
	cfg := config.Default()
	if file != "" {
		data, err := d.Read(ctx, file, config.MaxFileSize)
		if err == nil {
			cfg, err = config.Parse(file, data)
		}
		if err != nil {
			return nil, usage(err)
		}
	}
	if flags != nil {
		if err := cfg.Overlay(*flags); err != nil {
			return nil, usage(err)
		}
	}
	if err := cfg.Validate(); err != nil {
		return nil, usage(err)
	}
	return cfg, nil
}

// serving is what serve is asked for.
type serving struct {
	load  func(context.Context, *disk.Disk) (*config.Config, error)
	file  string // that load reads; "" for none
	watch bool   // reload when it changes
}

// serve runs what load answers, and at SIGHUP what it answers then.
func serve(o serving) error {
	file, err := o.watched() // before it is read, so that no change is missed
	if err != nil {
		return err
	}
	files := &disk.Disk{}
	cfg, err := o.load(context.Background(), files)
	if err != nil {
		return err
	}
	outliveReader()
	log, flush := newLogger(&cfg.Log)
	defer flush()
	log.Info().Str("version", versionText()).Int("pid", os.Getpid()).Msg("limeload")
	s, err := server.New(cfg, log)
	if err != nil {
		return failed(err)
	}
	p := &process{Server: s, file: o.file, log: log, flush: flush, load: o.load, disk: files, done: make(chan struct{}), due: make(chan string, 1)}
	if err := p.identify(&cfg.Process); err != nil {
		return failed(err)
	}
	p.inherit()
	s.OnBound(func() error { return p.confine(cfg) })
	stopAdmin, err := p.serveAdmin(&cfg.Admin)
	if err != nil {
		return failed(err)
	}
	defer stopAdmin() // last: while sessions drain it tells that they do
	defer close(p.done)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP) // before a client can know that we run
	go p.obey(signals)
	go p.reloadWhenDue()
	go p.report()
	go p.tidy()
	defer p.follow(file)()
	if err := s.Run(context.Background()); !errors.Is(err, server.ErrClosed) {
		return failed(err)
	}
	return nil
}

// tidy gives back what reading the configuration and starting took, once that is over.
// The collector itself takes a page for each size of objects at its first two rounds, one
// for each of the two sets of spans that it changes between (runtime.mcentral): half a
// megabyte, which is better there from the start than asked for under load.
func (p *process) tidy() {
	select {
	case <-p.Started():
		runtime.GC()
		debug.FreeOSMemory()
	case <-p.done:
	}
}
