package metrics

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/limeload/limeload/pkg/server"
	"github.com/limeload/limeload/splice"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// Build says what is running; it is shown as labels of limeload_build_info.
type Build struct {
	Version string
	Commit  string // "" = unknown
}

// Gatherer is a prometheus.Gatherer of one server, its process and its runtime.
type Gatherer struct {
	server *server.Server
	build  *dto.MetricFamily
	own    *prometheus.Registry // of process and runtime
	pages  shelf
}

// New makes the Gatherer of s.
func New(s *server.Server, b Build) *Gatherer {
	g := &Gatherer{server: s, build: b.info(), own: prometheus.NewRegistry()}
	g.own.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return g
}

// section is one family of a scrape: ours, or one that a library made.
type section struct {
	name     string
	text     func(*page, *textWriter)     // writes it; nil for a library's
	protobuf func(*page, *protobufWriter) // likewise
	made     *dto.MetricFamily            // a library's
}

// ours are the sections of the catalogue.
var ours = slices.Concat(
	sections(process, func(p *page) *rows[server.Snapshot] { return &p.process }),
	sections(listeners, func(p *page) *rows[server.ListenerSnapshot] { return &p.listeners }),
	sections(pools, func(p *page) *rows[server.PoolSnapshot] { return &p.pools }),
	sections(backends, func(p *page) *rows[server.BackendSnapshot] { return &p.backends }),
	sections(loops, func(p *page) *rows[splice.LoopStats] { return &p.loops }),
)

func sections[T any](fs []family[T], of func(*page) *rows[T]) []section {
	all := make([]section, len(fs))
	for i := range fs {
		f := &fs[i]
		all[i] = section{
			name:     prefix + f.name,
			text:     func(p *page, t *textWriter) { f.text(t, of(p), i) },
			protobuf: func(p *page, t *protobufWriter) { f.protobuf(t, of(p), i) },
		}
	}
	return all
}

// sections are those of one scrape, by name. The error tells what is missing of process
// and runtime: without /proc, say.
func (g *Gatherer) sections() ([]section, error) {
	made, err := g.own.Gather()
	all := slices.Clone(ours)
	for _, f := range append(made, g.build) {
		all = append(all, section{name: f.GetName(), made: f})
	}
	slices.SortFunc(all, func(a, b section) int { return cmp.Compare(a.name, b.name) })
	return all, err
}

// Gather implements prometheus.Gatherer.
func (g *Gatherer) Gather() (all []*dto.MetricFamily, err error) {
	var p page
	p.read(g.server, nil)
	sections, err := g.sections()
	for _, s := range sections {
		f, wrong := s.gather(&p)
		if f != nil {
			all = append(all, f)
		}
		err = errors.Join(err, wrong)
	}
	return all, err
}

// gather is a section as the library has it: what is written of it, read back. It is nil
// if no row has it.
func (s section) gather(p *page) (*dto.MetricFamily, error) {
	if s.made != nil {
		return s.made, nil
	}
	var written bytes.Buffer
	t := &protobufWriter{batch: batch{out: &polite{w: &written, sleep: func(time.Duration) {}}}}
	s.protobuf(p, t)
	t.flush()
	if written.Len() == 0 {
		return nil, nil
	}
	f := new(dto.MetricFamily)
	if err := expfmt.NewDecoder(&written, expfmt.NewFormat(expfmt.TypeProtoDelim)).Decode(f); err != nil {
		return nil, fmt.Errorf("read %s back: %w", s.name, err)
	}
	return f, nil
}

func (b Build) info() *dto.MetricFamily {
	name, help, kind, value := prefix+"build_info", "1, with what is running in its labels.", gauges, 1.0
	label := func(name, value string) *dto.LabelPair { return &dto.LabelPair{Name: &name, Value: &value} }
	of := []*dto.LabelPair{label("version", b.Version), label("commit", b.Commit), label("goversion", runtime.Version())}
	return &dto.MetricFamily{
		Name: &name, Help: &help, Type: &kind,
		Metric: []*dto.Metric{{Label: of, Gauge: &dto.Gauge{Value: &value}}},
	}
}
