package metrics

import (
	"cmp"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strconv"

	"github.com/limeload/limeload/pkg/server"
	"github.com/limeload/limeload/splice"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
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
}

// New makes the Gatherer of s.
func New(s *server.Server, b Build) *Gatherer {
	g := &Gatherer{server: s, build: b.info(), own: prometheus.NewRegistry()}
	g.own.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return g
}

// maxScrapes bounds the memory of scrapes at one time: one of 10 000 backends takes
// about 80 MB for a moment.
const maxScrapes = 4

// Handler serves the metrics of s, in the format that the scraper likes best: the
// text format, OpenMetrics, or protobuf, which alone has native histograms.
func Handler(s *server.Server, b Build) http.Handler {
	g := New(s, b)
	return atMost(maxScrapes, compressed(plainText(g, promhttp.HandlerFor(g, promhttp.HandlerOpts{
		EnableOpenMetrics:  true,
		DisableCompression: true,
		ErrorHandling:      promhttp.ContinueOnError, // a process without /proc still shows its sessions
	}))))
}

// atMost has no more than n requests served at one time; the others are told to come
// again.
func atMost(n int, next http.Handler) http.Handler {
	under := make(chan struct{}, n)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case under <- struct{}{}:
			defer func() { <-under }()
			next.ServeHTTP(w, r)
		default:
			http.Error(w, fmt.Sprintf("%d scrapes are under way; try again later", n), http.StatusServiceUnavailable)
		}
	})
}

func (b Build) info() *dto.MetricFamily {
	name, help, kind, value := prefix+"build_info", "1, with what is running in its labels.", gauges, 1.0
	of := labels{label("version", b.Version), label("commit", b.Commit), label("goversion", runtime.Version())}
	return &dto.MetricFamily{
		Name: &name, Help: &help, Type: &kind,
		Metric: []*dto.Metric{{Label: of, Gauge: &dto.Gauge{Value: &value}}},
	}
}

// Gather implements prometheus.Gatherer.
func (g *Gatherer) Gather() ([]*dto.MetricFamily, error) {
	all, err := g.own.Gather()
	snap := g.server.Snapshot()
	all = append(append(all, g.build), families(&snap)...)
	slices.SortFunc(all, func(a, b *dto.MetricFamily) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return all, err
}

// families are those of a snapshot.
func families(s *server.Snapshot) []*dto.MetricFamily {
	var all []*dto.MetricFamily
	all = appendFamilies(all, process, []*server.Snapshot{s}, func(*server.Snapshot) labels { return nil })
	all = appendFamilies(all, listeners, pointers(s.Listeners), func(l *server.ListenerSnapshot) labels {
		return labels{label("listener", l.Name)}
	})
	all = appendFamilies(all, pools, pointers(s.Pools), func(p *server.PoolSnapshot) labels {
		return labels{label("pool", p.Name)}
	})
	all = appendBackends(all, s.Pools)
	n := -1
	return appendFamilies(all, loops, pointers(s.Loops), func(*splice.LoopStats) labels {
		n++
		return labels{label("loop", strconv.Itoa(n))}
	})
}

func appendBackends(all []*dto.MetricFamily, pools []server.PoolSnapshot) []*dto.MetricFamily {
	var rows []*server.BackendSnapshot
	var of []labels
	for i := range pools {
		p := &pools[i]
		pool := label("pool", p.Name)
		for _, b := range slices.Concat(pointers(p.Backends), pointers(p.Leaving)) {
			rows, of = append(rows, b), append(of, labels{pool, label("backend", b.Name)})
		}
	}
	return gatherAll(all, backends, rows, of)
}

func appendFamilies[T any](all []*dto.MetricFamily, fs []family[T], rows []*T, name func(*T) labels) []*dto.MetricFamily {
	of := make([]labels, len(rows))
	for i, row := range rows {
		of[i] = name(row)
	}
	return gatherAll(all, fs, rows, of)
}

func gatherAll[T any](all []*dto.MetricFamily, fs []family[T], rows []*T, of []labels) []*dto.MetricFamily {
	for i := range fs {
		if f := fs[i].gather(rows, of); f != nil {
			all = append(all, f)
		}
	}
	return all
}

func pointers[T any](values []T) []*T {
	all := make([]*T, len(values))
	for i := range values {
		all[i] = &values[i]
	}
	return all
}
