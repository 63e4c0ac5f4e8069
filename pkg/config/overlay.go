package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Flags are the flags of limeload serve, as they were typed. A nil pointer is
// a flag that was not given: an empty text is a value (--admin "" is off).
type Flags struct {
	Listen  []string // --listen ADDR, one each
	Backend []string // --backend, one each; see ParseBackend

	// These belong to the pool that --listen and --backend make.
	Algorithm      *string // --algorithm A[,B]
	Health         *string // --health TYPE
	HealthInterval *string // --health-interval DURATION
	ConnectTimeout *string // --connect-timeout DURATION

	// This belongs to the listener that --listen makes.
	IdleTimeout *string // --idle-timeout DURATION

	DrainTimeout *string // --drain-timeout DURATION
	Engine       *string // --engine TYPE
	Threads      *string // --threads N
	Admin        *string // --admin ADDR
	User         *string // --user NAME
	Group        *string // --group NAME
	LogLevel     *string // --log-level LEVEL
	LogFormat    *string // --log-format FORMAT
}

// flagsName is the name of the listener and of the pool that flags make.
const flagsName = "default"

// Overlay lays the flags over the configuration: over Default without a file,
// else over that of Load.
//
//   - --listen and --backend make a listener and a pool, both named "default".
//   - --listen alone makes a listener for the pool of a file that has one.
//   - Flags for a pool or a listener apply to those alone; the other flags win
//     over what the file says.
//
// The error, of type Problems, is about flags that do not fit together; then
// nothing was laid over, and Validate has nothing to say. A flag whose value
// is wrong is no error here: it comes with what Validate finds, under the name
// of the flag:
//
//	--backend pg:99999: port 99999 is out of range 1..65535
func (c *Config) Overlay(f Flags) error {
	if ps := c.misuse(f); len(ps) > 0 {
		return ps
	}
	o := overlay{c: c}
	o.process(f)
	if len(f.Listen) > 0 {
		o.listener(f)
	}
	if len(f.Backend) > 0 {
		o.pool(f)
	}
	c.settle()
	return nil
}

// misuse finds the flags that do not fit together, or not with the file.
func (c *Config) misuse(f Flags) (ps Problems) {
	wrong := func(flag, format string, args ...any) {
		ps = append(ps, Problem{Path: flag, Text: fmt.Sprintf(format, args...)})
	}
	listen, backend, file := len(f.Listen) > 0, len(f.Backend) > 0, c.source.file
	switch {
	case listen && backend:
	case file == "" && !listen && !backend && len(c.Listeners) == 0:
		wrong("", "nothing to serve: want a file, or --listen and --backend")
	case backend:
		wrong("--backend", "needs --listen")
	case listen && file == "":
		wrong("--listen", "needs --backend, or a file with a pool")
	case listen && len(c.Pools) != 1:
		wrong("--listen", "needs --backend, or a file with exactly one pool; %s has %d", file, len(c.Pools))
	}
	for _, g := range f.poolFlags() {
		if g.value != nil && !backend {
			wrong(g.name, "applies only to the pool that --listen and --backend make")
		}
	}
	if f.IdleTimeout != nil && !listen {
		wrong("--idle-timeout", "applies only to the listener that --listen makes")
	}
	return ps
}

type namedFlag struct {
	name  string
	value *string
}

func (f Flags) poolFlags() []namedFlag {
	return []namedFlag{
		{"--algorithm", f.Algorithm},
		{"--health", f.Health},
		{"--health-interval", f.HealthInterval},
		{"--connect-timeout", f.ConnectTimeout},
	}
}

// overlay writes flags into a Config and notes that they were flags.
type overlay struct{ c *Config }

// process lays the flags for the whole process.
func (o overlay) process(f Flags) {
	c := o.c
	set(o, "--log-level", f.LogLevel, "log.level", &c.Log.Level, asIs)
	set(o, "--log-format", f.LogFormat, "log.format", &c.Log.Format, asIs)
	set(o, "--engine", f.Engine, "engine.type", &c.Engine.Type, asIs)
	set(o, "--threads", f.Threads, "engine.threads", &c.Engine.Threads, parseInt)
	set(o, "--admin", f.Admin, "admin.listen", &c.Admin.Listen, parseAdminListen)
	set(o, "--user", f.User, "process.user", &c.Process.User, asIs)
	set(o, "--group", f.Group, "process.group", &c.Process.Group, asIs)
	set(o, "--drain-timeout", f.DrainTimeout, "shutdown.drain_timeout", &c.Shutdown.DrainTimeout, ParseDuration)
}

// listener adds the listener of --listen, for the pool of --backend or else
// for the only one of the file.
func (o overlay) listener(f Flags) {
	l := DefaultListener()
	l.Name, l.Pool = flagsName, flagsName
	if len(f.Backend) == 0 {
		l.Pool = o.c.Pools[0].Name
	}
	path := listenerPath(len(o.c.Listeners))
	o.c.source.override(path, "--listen")
	l.Listen = make([]Address, len(f.Listen))
	for i, s := range f.Listen {
		set(o, "--listen", &s, index(path+".listen", i), &l.Listen[i], ParseAddress)
	}
	set(o, "--idle-timeout", f.IdleTimeout, path+".timeouts.idle", &l.Timeouts.Idle, ParseDuration)
	o.c.Listeners = append(o.c.Listeners, l)
}

// pool adds the pool of --backend.
func (o overlay) pool(f Flags) {
	p := DefaultPool()
	p.Name = flagsName
	path := poolPath(len(o.c.Pools))
	o.c.source.override(path, "--backend")
	set(o, "--algorithm", f.Algorithm, path+".algorithm", &p.Algorithm, splitChain)
	set(o, "--health", f.Health, path+".health.type", &p.Health.Type, asIs)
	set(o, "--health-interval", f.HealthInterval, path+".health.interval", &p.Health.Interval, ParseDuration)
	set(o, "--connect-timeout", f.ConnectTimeout, path+".connect.timeout", &p.Connect.Timeout, ParseDuration)
	p.Backends = make([]Backend, len(f.Backend))
	for i, s := range f.Backend {
		set(o, "--backend", &s, backendPath(len(o.c.Pools), i), &p.Backends[i], ParseBackend)
	}
	o.c.Pools = append(o.c.Pools, p)
}

// set lays one flag over one value. What does not parse is a problem for
// Validate to report; the value is then left alone.
func set[T any](o overlay, flag string, value *string, path string, dst *T, parse func(string) (T, error)) {
	if value == nil {
		return
	}
	o.c.source.override(path, flag+" "+quoteIfNeeded(*value))
	v, err := parse(*value)
	if err != nil {
		o.c.source.report(path, err.Error())
		return
	}
	*dst = v
}

// ParseBackend parses a backend as --backend takes it:
//
//	ADDR[,name=N][,weight=W][,max=M][,backup]
//
// What is not given has its default, the name is the address. The answer is
// checked like that of a file.
func ParseBackend(s string) (Backend, error) {
	addr, opts, more := strings.Cut(s, ",")
	b := DefaultBackend()
	var err error
	if b.Address, err = ParseAddress(addr); err != nil {
		return Backend{}, err
	}
	b.Name = b.Address.String()
	seen := map[string]bool{}
	for more {
		var opt string
		opt, opts, more = strings.Cut(opts, ",")
		key, value, given := strings.Cut(opt, "=")
		if seen[key] {
			return Backend{}, fmt.Errorf("%s is given twice", key)
		}
		seen[key] = true
		if err := b.option(key, value, given); err != nil {
			return Backend{}, err
		}
	}
	if err := checkBackend(b); err != nil {
		return Backend{}, err
	}
	return b, nil
}

// option lays one NAME=VALUE or NAME over the backend.
func (b *Backend) option(key, value string, given bool) (err error) {
	switch {
	case key == "name" && given:
		b.Name = value
	case key == "weight" && given:
		b.Weight, err = parseInt(value)
	case key == "max" && given:
		b.MaxConnections, err = parseInt(value)
	case key == "backup" && !given:
		b.Backup = true
	case key == "backup":
		return errors.New("backup takes no value")
	case key == "name" || key == "weight" || key == "max":
		return fmt.Errorf("%s has no value; want %s=VALUE", key, key)
	default:
		return fmt.Errorf("unknown option %q%s", key, didYouMean(key, []string{"name", "weight", "max", "backup"}))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// checkBackend answers the first thing that Validate would find, in the words
// of the flag.
func checkBackend(b Backend) error {
	v := validator{c: &Config{}}
	v.backend("", b)
	if len(v.problems) == 0 {
		return nil
	}
	switch p := v.problems[0]; p.Path {
	case "address":
		return errors.New(p.Text)
	case "max_connections":
		return fmt.Errorf("max: %s", p.Text)
	default:
		return fmt.Errorf("%s: %s", p.Path, p.Text)
	}
}

func asIs(s string) (string, error) { return s, nil }

func splitChain(s string) ([]string, error) { return strings.Split(s, ","), nil }

func parseInt(s string) (int, error) {
	n, err := strconv.ParseInt(s, 10, 32)
	if errors.Is(err, strconv.ErrRange) {
		return 0, fmt.Errorf("%s is out of range", s)
	}
	if err != nil {
		return 0, fmt.Errorf("%q is not a whole number", s)
	}
	return int(n), nil
}

// quoteIfNeeded keeps a value in a message as it was typed, where it can be
// seen and stays on its line.
func quoteIfNeeded(s string) string {
	if q := strconv.Quote(s); s == "" || q != `"`+s+`"` || strings.Contains(s, " ") {
		return q
	}
	return s
}
