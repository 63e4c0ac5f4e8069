package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/limeload/limeload/splice/loadgen"
)

// control measures one limeload with many backends; see newControl.
type control struct {
	limeload string // program
	rounds   int
	duration time.Duration
	every    time.Duration // from one scrape to the next
	pools    int
	backends int
	threads  int
	fair     bool

	dir    string
	server *process // behind the listener that is loaded
	proxy  *process
	front  netip.AddrPort // where the load goes
	admin  string         // base URL of the API

	troubles []string // connections of the load that failed: the figures are there all the same
}

const (
	scrapeFormat = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
	statusPath   = "/api/v1/status"
	askEvery     = 20 * time.Millisecond
	warmup       = 300 * time.Millisecond
	probedWithin = time.Minute // every backend, for the first time
)

// start has everything running, and every backend probed once.
func (c *control) start(ctx context.Context) (err error) {
	if c.dir, err = os.MkdirTemp("", "limebench"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			c.stop()
		}
	}()
	bench := &comparison{threads: c.threads, dir: c.dir}
	if c.server, err = bench.serve(ctx); err != nil {
		return err
	}
	ports := make([]uint16, 2)
	for i := range ports {
		if ports[i], err = freePort(proxyHost); err != nil {
			return err
		}
	}
	c.front = netip.AddrPortFrom(proxyHost, ports[0])
	admin := netip.AddrPortFrom(proxyHost, ports[1])
	c.admin = "http://" + admin.String()
	file := filepath.Join(c.dir, "limeload.toml")
	if err = os.WriteFile(file, []byte(c.configuration(bench.backends, admin)), 0o644); err != nil {
		return err
	}
	if c.proxy, err = startProcess(c.dir, "limeload", c.limeload, "serve", "-c", file); err != nil {
		return err
	}
	if err = c.proxy.ready(ctx, c.front); err != nil {
		return err
	}
	return c.probed(ctx)
}

func (c *control) stop() {
	for _, p := range []*process{c.proxy, c.server} {
		if p != nil {
			p.stop()
		}
	}
	os.RemoveAll(c.dir)
}

// configuration has one pool that works, and the others, where nobody listens.
func (c *control) configuration(backends []netip.AddrPort, admin netip.AddrPort) string {
	var b strings.Builder
	fmt.Fprintf(&b, "log = { level = \"error\", access = false }\nengine = { threads = %d }\nadmin = { listen = %q }\n", c.threads, admin)
	fmt.Fprintf(&b, "[[listener]]\nname = \"loaded\"\nlisten = [%q]\npool = \"loaded\"\n", c.front)
	fmt.Fprintf(&b, "[[pool]]\nname = \"loaded\"\nhealth = { type = \"none\" }\nbackend = [\n")
	for _, a := range backends {
		fmt.Fprintf(&b, "{ address = %q },\n", a)
	}
	b.WriteString("]\n")
	for p := range c.pools {
		fmt.Fprintf(&b, "[[listener]]\nname = \"listener-%d\"\nlisten = [\"127.0.0.1:0\"]\npool = \"pool-%d\"\n", p, p)
		fmt.Fprintf(&b, "[[pool]]\nname = \"pool-%d\"\nhealth = { interval = \"1h\" }\nbackend = [\n", p)
		for i := range c.backends / c.pools {
			fmt.Fprintf(&b, "{ name = \"backend-%d-%d\", address = \"127.%d.%d.1:1\" },\n", p, i, p+1, i)
		}
		b.WriteString("]\n")
	}
	return b.String()
}

// probed waits for the first result of every probe.
func (c *control) probed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probedWithin)
	defer cancel()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.admin+"/api/v1/pools/"+fmt.Sprintf("pool-%d", c.pools-1), nil)
		if err != nil {
			return err
		}
		w, err := http.DefaultClient.Do(r)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(w.Body)
		w.Body.Close()
		if err == nil && w.StatusCode == http.StatusOK && !strings.Contains(string(body), `"health":"unchecked"`) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for probes: %w", ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// scrapes measures ping-pong with and without scrapes.
func (c *control) scrapes(ctx context.Context, out io.Writer) error {
	work := loadgen.Work{Mode: loadgen.PingPong, Connections: 64}
	var with, without []figures
	var took []answers
	for round := range c.rounds {
		for i := range 2 {
			if (round+i)%2 == 0 {
				f, _, err := c.measure(ctx, work, nil)
				if err != nil {
					return err
				}
				without = append(without, f)
				continue
			}
			f, a, err := c.measure(ctx, work, &asking{"/metrics", scrapeFormat, c.every, 19})
			if err != nil {
				return err
			}
			with, took = append(with, f), append(took, *a)
		}
	}
	fmt.Fprintf(out, "\nping-pong of 64 B, 64 connections, without scrapes and with one every %v: %d rounds of %v\n", c.every, c.rounds, c.duration)
	var b strings.Builder
	t := newTable(&b)
	t.row("", "without", "with", "ratio (range)")
	for _, m := range []metric{throughput, p50, p99, p999, proxyCPU} {
		value := func(f []figures) string { return valueText(m, "op", spreadOf(column(f, m)).Median) }
		t.row(string(m), value(without), value(with), spreadOf(ratios(with, without, m)).ratioText())
	}
	t.flush()
	_, err := io.WriteString(out, b.String()+scrapeText(took))
	return err
}

func scrapeText(took []answers) string {
	var n int
	var p50, longest []float64
	for _, a := range took {
		n += a.Requests
		p50, longest = append(p50, a.P50), append(longest, a.Max)
	}
	return fmt.Sprintf("%d scrapes of %s (gzip): median %s, longest %s\n",
		n, bytesText(uint64(took[0].Bytes)), timeText(spreadOf(p50).Median), timeText(spreadOf(longest).High))
}

// questions measures the API under each of loads.
func (c *control) questions(ctx context.Context, out io.Writer) error {
	var b strings.Builder
	t := newTable(&b)
	t.row("load", "answers", "p50", "p99", "max")
	for _, l := range loads {
		_, a, err := c.measure(ctx, l.work, &asking{statusPath, "application/json", askEvery, -20})
		if err != nil {
			return err
		}
		t.row(l.name, fmt.Sprint(a.Requests), timeText(a.P50), timeText(a.P99), timeText(a.Max))
	}
	t.flush()
	_, err := fmt.Fprintf(out, "\nGET %s every %v, for %v under each load\n%s", statusPath, askEvery, c.duration, b.String())
	return err
}

// asking is who asks while load is made: see ask.
type asking struct {
	path, accept string
	every        time.Duration
	nice         int
}

// measure makes load, if there is any, and asks meanwhile, if anybody does.
func (c *control) measure(ctx context.Context, w loadgen.Work, who *asking) (f figures, a *answers, err error) {
	if w.Connections == 0 {
		a, err := c.ask(ctx, who)
		return nil, a, err
	}
	r, err := loadgen.Start(ctx, loadgen.Options{
		Targets: []netip.AddrPort{c.front}, Sources: loadHosts, Works: []loadgen.Work{w},
		Duration: c.duration, Warmup: warmup, Threads: c.threads, Verify: loadgen.VerifySample,
	})
	if err != nil {
		return nil, nil, err
	}
	<-r.Begun()
	pids := []int{c.proxy.cmd.Process.Pid}
	before, err1 := readCPU(pids)
	var err2 error
	if who != nil {
		a, err2 = c.ask(ctx, who)
	}
	<-r.Ended()
	after, err3 := readCPU(pids)
	res, err4 := r.Wait()
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return nil, nil, err
	}
	if err := res.Err(); err != nil {
		c.troubles = append(c.troubles, err.Error())
	}
	return workFigures(line{work: w}, res, after.since(before), true), a, nil
}

// ask runs who for the time of a measurement.
func (c *control) ask(ctx context.Context, who *asking) (*answers, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var out, errs strings.Builder
	cmd := exec.CommandContext(ctx, self, "ask", "--every", who.every.String(), "--duration", c.duration.String(), "--accept", who.accept, c.admin+who.path)
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = &out, &errs, underUs()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if !c.fair {
		setNice(cmd.Process.Pid, who.nice)
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("ask: %w: %s", err, strings.TrimSpace(errs.String()))
	}
	var a answers
	if err := json.Unmarshal([]byte(out.String()), &a); err != nil {
		return nil, fmt.Errorf("ask: %w", err)
	}
	if a.Requests == 0 {
		return nil, errors.New("ask: nothing was asked: the duration is too short")
	}
	return &a, nil
}
