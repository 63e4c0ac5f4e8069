package top

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/limeload/limeload/pkg/client"
	"github.com/limeload/limeload/pkg/show"
)

// Lines that a screen has besides the rows of its tables: three of the process, a heading
// for each table, the detail of the selected backend, a blank, and the keys.
const fixedLines = 8

// screen is what is on the terminal: height lines of at most width characters.
func (m *model) screen() []line {
	lines := m.process()
	if m.frame == nil {
		return m.fit(lines)
	}
	nb, ns := share(len(m.frame.rows), len(m.frame.sessions.Sessions), m.height-fixedLines)
	lines = append(lines, m.backendLines(nb)...)
	lines = append(lines, m.detail(), line{})
	lines = append(lines, m.sessionLines(ns)...)
	return m.fit(lines)
}

// fit makes lines as many as the screen has, the last of them the keys.
func (m *model) fit(lines []line) []line {
	for len(lines) < m.height-1 {
		lines = append(lines, line{})
	}
	lines = append(lines[:max(0, m.height-1)], m.footer())
	for i := range lines {
		lines[i] = lines[i].cut(m.width)
	}
	return lines
}

// share divides space between the tables: sessions give way, but not more than half of it.
func share(backends, sessions, space int) (nb, ns int) {
	space = max(0, space)
	nb = min(backends, max(space/2, space-sessions))
	return nb, min(sessions, space-nb)
}

// waiting is what happens while there is nothing new to show.
func (m *model) waiting() string {
	if m.err != nil {
		return "trying again every " + show.Seconds(m.interval.Seconds())
	}
	return "asking " + m.api.Address()
}

// process is the first lines: how it is, what it moves, and why it is not ready.
func (m *model) process() []line {
	head := line{{"limeload  ", lime}}
	switch {
	case m.err != nil:
		head = append(head, span{"NO ANSWER", bad}, span{"  " + m.waiting(), plain})
		return []line{head, {}, {{show.Clean(m.err.Error()), bad}}}
	case m.frame == nil:
		return []line{append(head, span{m.waiting(), plain}), {}, {}}
	}
	s := &m.frame.status
	if s.Ready {
		head = append(head, span{"ready", good})
	} else {
		head = append(head, span{"NOT READY", bad})
	}
	live := fmt.Sprintf("%d live", s.Sessions)
	if s.Limit > 0 {
		live += " of " + show.Count(float64(s.Limit))
	}
	head = append(head, span{"  " + live + "  up " + show.Seconds(s.Uptime) + "  " + s.Time.Local().Format(time.TimeOnly), plain})
	t := m.rates.total
	flow := line{
		{"new ", faint}, {show.Pad(show.Count(t.sessions)+"/s", 8, false), bold},
		{"up ", faint}, {show.Pad(show.Bytes(t.up)+"/s", 10, false), bold},
		{"down ", faint}, {show.Pad(show.Bytes(t.down)+"/s", 10, false), bold},
	}
	if points := m.frame.allSessions(); len(points) > 0 {
		flow = append(flow, span{show.Bars(points, 24, 0), good}, span{" new, 2m", faint})
	}
	return []line{head, flow, m.trouble()}
}

// trouble is why it is not ready, and who is refused. A second without refusals leaves
// what there was since the start, so that the line does not flicker.
func (m *model) trouble() line {
	var l line
	if reason := m.frame.status.Reason; reason != "" {
		l = append(l, span{show.Clean(reason) + "  ", bad})
	}
	if m.frame.held > 0 {
		l = append(l, span{fmt.Sprintf("%d held  ", m.frame.held), poor})
	}
	var total uint64
	now, reasons := 0.0, slices.Sorted(maps.Keys(m.frame.refused))
	var each []string
	for _, reason := range reasons {
		total += m.frame.refused[reason]
		if n := m.rates.refused[reason]; n > 0 {
			now += n
			each = append(each, fmt.Sprintf("%s %s/s", reason, show.Count(n)))
		}
	}
	if total == 0 {
		return l
	}
	look := faint
	if now > 0 {
		look = poor
	}
	return append(l,
		span{fmt.Sprintf("refused %s/s, %s in all", show.Count(now), show.Count(float64(total))), look},
		span{show.Clean("  " + strings.Join(each, "  ")), faint})
}

// column is one of a table, besides those of names, which have what is left.
type column struct {
	title string
	width int
	right bool // numbers
}

const (
	markWidth = 2
	barWidth  = 12 // points of five seconds
	leastName = 12
)

var backendColumns = []column{
	{"HEALTH", 9, false}, {"MODE", 5, false}, {"ACTIVE", 6, true}, {"NEW/S", 6, true},
	{"UP/S", 7, true}, {"DOWN/S", 7, true}, {"LAST MINUTE", barWidth, false},
}

var sessionColumns = []column{
	{"STATE", 7, false}, {"AGE", 7, true}, {"IDLE", 7, true}, {"UP", 8, true}, {"DOWN", 8, true},
}

// fitting are the columns that fit beside so many of names, and the width of each of these:
// a number that is cut would be another one, so the last columns give way as a whole.
func fitting(all []column, names, width int) (columns []column, name int) {
	for n := len(all); ; n-- {
		rest := width - markWidth
		for _, c := range all[:n] {
			rest -= c.width + 1
		}
		if name = (rest - (names - 1)) / names; name >= leastName || n == 0 {
			return all[:n], max(leastName, name)
		}
	}
}

// titles are the headings of columns, each after a space.
func titles(columns []column) string {
	var b strings.Builder
	for _, c := range columns {
		b.WriteString(" " + show.Pad(c.title, c.width, c.right))
	}
	return b.String()
}

// cells are spans in the widths of columns; those that have none are left out.
func cells(columns []column, spans ...span) line {
	var l line
	for i, c := range columns {
		l = append(l, span{" " + show.Pad(spans[i].text, c.width, c.right), spans[i].style})
	}
	return l
}

// backendLines are the heading and n backends around the selected one.
func (m *model) backendLines(n int) []line {
	columns, name := fitting(backendColumns, 1, m.width)
	all := m.frame.rows
	title := fmt.Sprintf("BACKENDS %d", len(all))
	lines := []line{heading("  "+show.Pad(title, name, false)+titles(columns), m.focus == backends)}
	from := window(m.backendAt(), len(all), n)
	for i := from; i < from+n; i++ {
		lines = append(lines, m.backendLine(&all[i], columns, name))
	}
	return lines
}

func (m *model) backendLine(r *row, columns []column, name int) line {
	f := m.rates.backends[r.Place]
	l := append(line{{mark(r.Place == m.backend) + nameOf(r.Place, name), plain}}, cells(columns,
		span{healthOf(r), healthStyle(r)},
		span{shortMode(r.Mode), modeStyle(r.Mode)},
		span{strconv.FormatInt(r.Active, 10), plain},
		span{show.Count(f.sessions), plain},
		span{show.Bytes(f.up), plain},
		span{show.Bytes(f.down), plain},
		span{show.Bars(m.frame.newSessions(r.Place), barWidth, 0), good},
	)...)
	if r.Place == m.backend && m.focus == backends {
		return l.in(chosen)
	}
	return l
}

// nameOf is the name of a backend in a column.
func nameOf(at client.Place, width int) string {
	return show.Pad(show.CutFront(show.Clean(at.String()), width), width, false)
}

func heading(text string, focused bool) line {
	if focused {
		return line{{text, bold}}
	}
	return line{{text, faint}}
}

func mark(selected bool) string {
	if selected {
		return "> "
	}
	return "  "
}

// shortMode fits a column of five.
func shortMode(mode string) string {
	switch mode {
	case "maintenance":
		return "maint"
	case "removed":
		return "gone"
	}
	return mode
}

// healthOf is what probes say, or what its traffic says where that keeps it out.
func healthOf(r *row) string {
	switch {
	case r.Health == "down" || r.Breaker == "" || r.Breaker == "closed":
		return r.Health
	case r.Breaker == "open":
		return "breaker"
	}
	return "trying"
}

func healthStyle(r *row) style {
	switch healthOf(r) {
	case "down", "breaker":
		return bad
	case "up":
		return good
	}
	return poor
}

func modeStyle(mode string) style {
	if mode == "ready" {
		return plain
	}
	return poor
}

// detail says more of the selected backend: why it gets no new sessions, or how it is used.
func (m *model) detail() line {
	b := m.selected()
	if b == nil {
		return line{}
	}
	text := fmt.Sprintf("  %s  %s  weight %d", b.Place, b.Address, b.Weight)
	if b.Since != nil {
		text += fmt.Sprintf("  %s for %s", b.Health, show.Ago(m.frame.status.Time, b.Since))
	}
	if b.DialFailures > 0 {
		text += fmt.Sprintf("  %s failed connects", show.Count(float64(b.DialFailures)))
	}
	if b.Excluded != "" {
		// Why comes first: it must be seen on a narrow screen.
		return line{{"  " + show.Clean(b.Excluded), bad}, {show.Clean(text), faint}}
	}
	return line{{show.Clean(text), faint}}
}

// sessionLines are the heading and n sessions around the selected one.
func (m *model) sessionLines(n int) []line {
	all := m.frame.sessions.Sessions
	title := fmt.Sprintf("SESSIONS %d by %s", m.frame.sessions.Total, strings.TrimPrefix(orders[m.order], "-"))
	if m.only != (client.Place{}) {
		title += " of " + show.Clean(m.only.String())
	}
	columns, wide := fitting(sessionColumns, 2, m.width)
	head := "  " + show.Pad(title, wide, false) + " " + show.Pad("BACKEND", wide, false) + titles(columns)
	if len(title) > wide { // it takes the place of the next heading
		head = "  " + show.Pad(title, 2*wide+1, false) + titles(columns)
	}
	lines := []line{heading(head, m.focus == sessions)}
	from := window(m.sessionAt(), len(all), n)
	for i := from; i < from+n; i++ {
		lines = append(lines, m.sessionLine(&all[i], columns, wide))
	}
	return lines
}

func (m *model) sessionLine(s *client.Session, columns []column, wide int) line {
	selected := s.ID == m.session && m.focus == sessions
	at := client.Place{Pool: s.Pool, Backend: s.Backend}
	l := append(line{{mark(selected) + show.Pad(show.Clean(clientOf(s)), wide, false) + " " + nameOf(at, wide), plain}}, cells(columns,
		span{s.State, plain},
		span{show.Seconds(s.Age), plain},
		span{show.Seconds(s.Idle), plain},
		span{show.Bytes(float64(s.BytesUp)), plain},
		span{show.Bytes(float64(s.BytesDown)), plain},
	)...)
	if selected {
		return l.in(chosen)
	}
	return l
}

// clientOf is the client's address, with its port where it has one.
func clientOf(s *client.Session) string {
	if s.ClientPort == 0 {
		return s.Client
	}
	return net.JoinHostPort(s.Client, strconv.Itoa(s.ClientPort))
}

// window is the first of n rows of total that are shown, with the selected one among them.
func window(selected, total, n int) int {
	return max(0, min(selected-n/2, total-n))
}

// footer is the question that waits, or what was just done, or the keys.
func (m *model) footer() line {
	switch {
	case m.question != nil:
		return line{{show.Clean(m.question.text), bad}, {"  y = yes, any other key = no", bold}}
	case m.notice != "":
		return line{{show.Clean(m.notice), bold}}
	}
	return line{{"q quit  tab switch  d drain  r ready  m maintenance  k kill  enter only  o order", faint}}
}
