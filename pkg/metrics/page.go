package metrics

import (
	"strconv"
	"time"

	"github.com/limeload/limeload/pkg/server"
	"github.com/limeload/limeload/splice"
)

// page is what one scrape shows: a snapshot, its rows of each kind, and what their text
// was compressed to. It is used again for later scrapes, so that these make no garbage,
// whose collection would cost the sessions more than the scrape itself, and compress only
// what changed.
type page struct {
	snapshot  server.Snapshot
	process   rows[server.Snapshot]
	listeners rows[server.ListenerSnapshot]
	pools     rows[server.PoolSnapshot]
	backends  rows[server.BackendSnapshot]
	loops     rows[splice.LoopStats]

	line    []byte       // a batch's
	bits    lineDeflater // likewise
	inner   []byte       // protobufWriter's
	matcher matcher      // likewise
	lines   gzipLines    // compresses either
	keeps   form         // what the fragments are of; foreign if there are none yet

	expiry *time.Timer // of a page on the shelf
}

// read takes a snapshot. pause is called now and then meanwhile; nil is allowed.
func (p *page) read(s *server.Server, pause func()) {
	s.SnapshotInto(&p.snapshot, pause)
	p.show(&p.snapshot)
}

// show makes the rows those of a snapshot, which stays the page's.
func (p *page) show(snap *server.Snapshot) {
	p.process.begin()
	p.process.add(snap)
	p.listeners.begin("listener")
	for i := range snap.Listeners {
		p.listeners.add(&snap.Listeners[i], snap.Listeners[i].Name)
	}
	p.pools.begin("pool")
	p.backends.begin("pool", "backend")
	for i := range snap.Pools {
		pool := &snap.Pools[i]
		p.pools.add(pool, pool.Name)
		for _, some := range [...][]server.BackendSnapshot{pool.Backends, pool.Leaving} {
			for j := range some {
				p.backends.add(&some[j], pool.Name, some[j].Name)
			}
		}
	}
	p.loops.begin("loop")
	for i := range snap.Loops {
		p.loops.add(&snap.Loops[i], strconv.Itoa(i))
	}
}

// look is to be called before anything is compressed.
func (p *page) look(as form, work func(int)) {
	p.keeps = as
	p.process.look(process, as, work)
	p.listeners.look(listeners, as, work)
	p.pools.look(pools, as, work)
	p.backends.look(backends, as, work)
	p.loops.look(loops, as, work)
}

// rows are the listeners of a page, say. Those after n are left over from an earlier
// scrape.
type rows[T any] struct {
	names []string // of the labels
	all   []row[T]
	n     int
	made  uint64       // rows with a new text so far
	kept  [][]fragment // of each family, in the order of the catalogue
	key   []byte       // of one of them
}

// row is one of them, with its labels.
type row[T any] struct {
	of     *T
	values [2]string // of the labels, in the order of their names
	id     uint64    // of the text: no other text of these rows ever had it; not 0
	text   string    // both as they are written: pool="a",backend="b"
	pairs  string    // both in protobuf; "" until somebody wants that
}

func (r *rows[T]) begin(names ...string) { r.names, r.n = names, 0 }

// add adds a row. Its text is that of the row that was here in the scrape before, which
// is the same one as long as the configuration is.
func (r *rows[T]) add(of *T, values ...string) {
	if r.n == len(r.all) {
		r.all = append(r.all, row[T]{})
	}
	one := &r.all[r.n]
	r.n++
	one.of = of
	var now [2]string
	copy(now[:], values)
	if one.values == now && one.id != 0 {
		return
	}
	one.values, one.pairs = now, ""
	var room [256]byte
	text := room[:0]
	for i, v := range values {
		text = appendLabel(text, r.names[i], v)
	}
	one.text = string(text)
	r.made++
	one.id = r.made
}

// each calls f with every row.
func (r *rows[T]) each(f func(*row[T])) {
	for i := range r.all[:r.n] {
		f(&r.all[i])
	}
}

// encoded are the labels of one row in protobuf.
func (r *rows[T]) encoded(one *row[T]) string {
	if one.pairs == "" && len(r.names) > 0 {
		var room [256]byte
		b := room[:0]
		for i, name := range r.names {
			b = appendPair(b, name, one.values[i])
		}
		one.pairs = string(b)
	}
	return one.pairs
}
