package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/limeload/limeload/splice/loadgen"
)

// comparison runs every line with every row, in rounds. Each round begins with
// another row, so that no place in the order is always the same one's.
//
// One server, a process of its own, is behind all rows. Each proxy is one process
// for all lines but idle, for which it is started anew so that nothing is left of
// what came before.
type comparison struct {
	rows     []contestant
	lines    []line
	rounds   int
	duration time.Duration // of one measurement
	warmup   time.Duration
	threads  int
	idle     int           // connections of the idle line
	rest     time.Duration // for which idle connections are watched
	progress func(format string, args ...any)

	dir      string
	backends []netip.AddrPort
	running  map[string]started
	results  results
}

type started struct {
	process *process
	address netip.AddrPort
}

// results are what was measured.
type results struct {
	figures map[string]map[string][]figures // by line and row, in the order of the rounds
	errors  map[string]map[string][]string  // likewise, as far as there were any
	configs map[string]string               // by row
}

// idleBase is from how many idle connections on memory is counted: what a program
// sets up once is not a connection's.
const idleBase = 1000

// Addresses of the server and sources of the load: several, because a port that was
// used may not be used again for a while (TIME_WAIT).
var (
	serverHosts = hosts(1, 4)
	loadHosts   = hosts(5, 8)
	proxyHost   = hosts(1, 1)[0]
)

// hosts are the loopback addresses with these last bytes.
func hosts(from, to byte) (out []netip.Addr) {
	for b := from; b <= to; b++ {
		out = append(out, netip.AddrFrom4([4]byte{127, 0, 0, b}))
	}
	return out
}

// run does it all. When ctx ends, results are those of the rounds so far.
func (c *comparison) run(ctx context.Context) (err error) {
	c.running = map[string]started{}
	c.results = results{map[string]map[string][]figures{}, map[string]map[string][]string{}, map[string]string{}}
	if c.dir, err = os.MkdirTemp("", "limebench"); err != nil {
		return err
	}
	defer os.RemoveAll(c.dir)
	server, err := c.serve(ctx)
	if err != nil {
		return err
	}
	defer server.stop()
	defer c.stopAll()
	for round := range c.rounds {
		for _, l := range c.lines {
			for i := range c.rows {
				row := c.rows[(i+round)%len(c.rows)]
				c.progress("round %d of %d, %s: %s", round+1, c.rounds, l.name, row.name)
				c.measure(ctx, l, row)
				if err := ctx.Err(); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// serve starts the server behind all rows.
func (c *comparison) serve(ctx context.Context) (*process, error) {
	port, err := freePort(serverHosts...)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{"serve", "--threads", fmt.Sprint(c.threads), "--verify", loadgen.VerifySample.String()}
	for _, h := range serverHosts {
		a := netip.AddrPortFrom(h, port)
		c.backends = append(c.backends, a)
		args = append(args, "--listen", a.String())
	}
	p, err := startProcess(c.dir, "server", self, args...)
	if err != nil {
		return nil, err
	}
	if err := p.ready(ctx, c.backends...); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

func (c *comparison) stopAll() {
	for name := range c.running {
		c.stopRow(name)
	}
}

func (c *comparison) stopRow(name string) {
	if s, ok := c.running[name]; ok {
		s.process.stop()
		delete(c.running, name)
	}
}

// measure adds the figures of one line and row to the results, and what went wrong.
// Without figures the round is empty for this row, and its proxy is started anew for
// the next.
func (c *comparison) measure(ctx context.Context, l line, row contestant) {
	measure := c.measureWork
	if l.work.Mode == loadgen.Idle {
		measure = c.measureIdle
	}
	f, err := measure(ctx, l, row)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		add(c.results.errors, l.name, row.name, err.Error())
	}
	if f == nil {
		c.stopRow(row.name)
	}
	add(c.results.figures, l.name, row.name, f)
}

func add[T any](to map[string]map[string][]T, line, row string, v T) {
	if to[line] == nil {
		to[line] = map[string][]T{}
	}
	to[line][row] = append(to[line][row], v)
}

// startRow starts a proxy that can hold so many connections, and some more.
func (c *comparison) startRow(ctx context.Context, row contestant, connections int) (started, error) {
	port, err := freePort(proxyHost)
	if err != nil {
		return started{}, err
	}
	s := setup{
		Listen: netip.AddrPortFrom(proxyHost, port), Backends: c.backends,
		Threads: c.threads, Sessions: connections + spareSessions, Dir: c.dir,
	}
	p, text, err := row.start(ctx, s)
	if err != nil {
		return started{}, err
	}
	if c.results.configs[row.name] == "" {
		c.results.configs[row.name] = text
	}
	return started{p, s.Listen}, nil
}

const (
	// workSessions is more than any line but idle has at a time, those that are being
	// closed included.
	workSessions  = 1000
	spareSessions = 1000
)

// targets are where the load for a row goes, and the processes behind that, none for
// direct.
func (c *comparison) targets(ctx context.Context, row contestant) ([]netip.AddrPort, []int, error) {
	if row.program == nil {
		return c.backends, nil, nil
	}
	s, ok := c.running[row.name]
	if !ok {
		var err error
		if s, err = c.startRow(ctx, row, workSessions); err != nil {
			return nil, nil, err
		}
		c.running[row.name] = s
	}
	return []netip.AddrPort{s.address}, tree(s.process.cmd.Process.Pid), nil
}

// measureWork makes the load of one line. An error beside figures is what went wrong
// with some connections, which does not make the figures worthless.
func (c *comparison) measureWork(ctx context.Context, l line, row contestant) (figures, error) {
	targets, pids, err := c.targets(ctx, row)
	if err != nil {
		return nil, err
	}
	o := loadgen.Options{
		Targets: targets, Sources: loadHosts, Works: []loadgen.Work{l.work},
		Duration: c.duration, Warmup: c.warmup, Threads: c.threads,
	}
	if l.bulk() {
		o.Verify = loadgen.VerifySample
	}
	r, err := loadgen.Start(ctx, o)
	if err != nil {
		return nil, err
	}
	<-r.Begun()
	before, err1 := readCPU(pids)
	<-r.Ended()
	after, err2 := readCPU(pids)
	res, err := r.Wait()
	if err := errors.Join(err, err1, err2); err != nil {
		return nil, err
	}
	return workFigures(l, res, after.since(before), len(pids) > 0), res.Err()
}

// cpu is time that was spent.
type cpu struct{ proxy, machine time.Duration }

func readCPU(pids []int) (cpu, error) {
	proxy, err1 := processCPU(pids)
	machine, err2 := readMachineCPU()
	return cpu{proxy, machine}, errors.Join(err1, err2)
}

func (c cpu) since(before cpu) cpu { return cpu{c.proxy - before.proxy, c.machine - before.machine} }

// workFigures are the figures of one measurement.
func workFigures(l line, res *loadgen.Result, spent cpu, proxied bool) figures {
	p := &res.Reports[0]
	units := float64(p.Operations)
	f := figures{}
	if l.bulk() {
		units = float64(p.BytesUp+p.BytesDown) / 1e9
		f[throughput] = units * 1e9 / res.Elapsed.Seconds()
	} else {
		f[throughput] = units / res.Elapsed.Seconds()
		for m, p := range map[metric]time.Duration{
			p50: p.Latency.Percentile(50), p90: p.Latency.Percentile(90), p99: p.Latency.Percentile(99),
			p999: p.Latency.Percentile(99.9), longest: p.Latency.Percentile(100),
		} {
			f[m] = p.Seconds()
		}
	}
	if units > 0 {
		f[machineCPU] = spent.machine.Seconds() / units
		if proxied {
			f[proxyCPU] = spent.proxy.Seconds() / units
		}
	}
	return f
}

// measureIdle starts the row's proxy anew, opens idleBase connections and then the
// others, and looks at its memory each time and at its CPU time at the end. Direct
// has none of that.
func (c *comparison) measureIdle(ctx context.Context, _ line, row contestant) (figures, error) {
	if row.program == nil {
		return figures{}, nil
	}
	s, err := c.startRow(ctx, row, c.idle)
	if err != nil {
		return nil, err
	}
	defer s.process.stop()
	pids := tree(s.process.cmd.Process.Pid)
	base, err := c.openIdle(ctx, s.address, idleBase)
	if err != nil {
		return nil, err
	}
	defer base.end()
	some, err := settledMemory(ctx, pids)
	if err != nil {
		return nil, err
	}
	more, err := c.openIdle(ctx, s.address, c.idle-idleBase)
	if err != nil {
		return nil, err
	}
	defer more.end()
	all, err := settledMemory(ctx, pids)
	if err != nil {
		return nil, err
	}
	spent, err := c.watchIdle(ctx, pids)
	if err != nil {
		return nil, err
	}
	if n := base.open() + more.open(); n != c.idle {
		return nil, fmt.Errorf("%d of %d idle connections are open", n, c.idle)
	}
	return figures{
		memory: max(float64(all)-float64(some), 0) / float64(c.idle-idleBase),
		total:  float64(all), idleCPU: spent,
	}, nil
}

// idlers are idle connections.
type idlers struct {
	run    *loadgen.Run
	cancel context.CancelFunc
}

// openIdle opens n connections, which stay open until end.
func (c *comparison) openIdle(ctx context.Context, target netip.AddrPort, n int) (*idlers, error) {
	ctx, cancel := context.WithCancel(ctx)
	r, err := loadgen.Start(ctx, loadgen.Options{
		Targets: []netip.AddrPort{target}, Sources: loadHosts, Threads: c.threads,
		Works:    []loadgen.Work{{Mode: loadgen.Idle, Connections: n, Size: 64}},
		Duration: time.Hour, Timeout: 20 * time.Second,
	})
	if err != nil {
		cancel()
		return nil, err
	}
	i := &idlers{r, cancel}
	<-r.Begun()
	if got := i.open(); got < n {
		defer i.end()
		return nil, errors.Join(fmt.Errorf("open idle connections: %d of %d are open", got, n), ctx.Err())
	}
	return i, nil
}

func (i *idlers) open() int { return i.run.Snapshot().Open }

func (i *idlers) end() {
	i.cancel()
	_, _ = i.run.Wait()
}

// settledMemory is the memory when opening connections has had time to calm down.
func settledMemory(ctx context.Context, pids []int) (uint64, error) {
	if err := sleep(ctx, time.Second); err != nil {
		return 0, err
	}
	return processMemory(pids)
}

// watchIdle is how many cores the proxy keeps busy while nothing happens.
func (c *comparison) watchIdle(ctx context.Context, pids []int) (float64, error) {
	begin := time.Now()
	before, err := processCPU(pids)
	if err != nil {
		return 0, err
	}
	if err := sleep(ctx, c.rest); err != nil {
		return 0, err
	}
	after, err := processCPU(pids)
	return (after - before).Seconds() / time.Since(begin).Seconds(), err
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
