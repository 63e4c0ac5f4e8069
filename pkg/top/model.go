package top

import (
	"context"
	"errors"
	"fmt"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/limeload/limeload/pkg/client"
	"github.com/limeload/limeload/pkg/show"
)

// pane is a table that has the keys.
type pane int

const (
	backends pane = iota
	sessions
	nothing // neither, where there are no keys
)

// orders are those that sessions can be shown in.
var orders = []string{"-age", "-idle", "-bytes", "-bytes_up", "-bytes_down", "client"}

// model is what is shown, and what the person does.
//
//	looking ──d r m k──> asked ──y──> acting ──> looking, with a notice
//	                       └──any other key──> looking
type model struct {
	ctx      context.Context
	api      *client.Client
	interval time.Duration

	width, height int
	frame         *frame // nil until the first answer
	rates         rates
	err           error // of the last poll
	polling       bool  // a poll is under way
	again         bool  // another one is wanted as soon as it ends

	focus   pane
	backend client.Place // that is selected
	session string       // ID of the one that is selected
	only    client.Place // of which sessions are shown; no place: of all
	order   int          // of sessions, an index of orders

	question *question
	notice   string // about the last action
}

// question is an action that waits for a yes.
type question struct {
	text string
	act  func(context.Context) (string, error)
}

// polled is the end of a poll.
type polled struct {
	frame *frame
	err   error
}

// acted is the end of an action.
type acted struct {
	notice string
	err    error
}

// due says that it is time to poll.
type due struct{}

func newModel(ctx context.Context, api *client.Client, interval time.Duration) *model {
	return &model{ctx: ctx, api: api, interval: interval, width: 80, height: 24, rates: rates{}}
}

// Init implements tea.Model.
func (m *model) Init() tea.Cmd { return m.poll() }

// View implements tea.Model.
func (m *model) View() tea.View {
	v := tea.NewView(render(m.screen()))
	v.AltScreen = true
	v.WindowTitle = "limeload top"
	return v
}

// Update implements tea.Model.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		return m, m.press(msg.String())
	case due:
		return m, m.poll()
	case polled:
		return m, m.take(msg)
	case acted:
		m.notice = msg.notice
		if msg.err != nil {
			m.notice = "not done: " + msg.err.Error()
		}
		return m, m.poll()
	}
	return m, nil
}

// poll begins one, or has one follow that is under way.
func (m *model) poll() tea.Cmd {
	if m.polling {
		m.again = true
		return nil
	}
	m.polling = true
	w, last := wanted{m.only, orders[m.order], max(1, m.height)}, m.frame
	return func() tea.Msg {
		f, err := poll(m.ctx, m.api, w, last)
		return polled{f, err}
	}
}

// take makes an answer what is shown. After an error the last answer stays.
func (m *model) take(p polled) tea.Cmd {
	m.polling, m.err = false, p.err
	if p.err == nil {
		m.rates = ratesOf(m.frame, p.frame)
		m.frame = p.frame
		m.keepSelection()
	}
	if m.again {
		m.again = false
		return m.poll()
	}
	return tea.Tick(m.interval, func(time.Time) tea.Msg { return due{} })
}

// keepSelection selects the first of what there is where the selected one has gone.
func (m *model) keepSelection() {
	if rows := m.frame.rows; m.backendAt() < 0 {
		m.backend = client.Place{}
		if len(rows) > 0 {
			m.backend = rows[0].Place
		}
	}
	if all := m.frame.sessions.Sessions; m.sessionAt() < 0 {
		m.session = ""
		if len(all) > 0 {
			m.session = all[0].ID
		}
	}
}

// backendAt is the row of the selected backend; -1 if it has gone.
func (m *model) backendAt() int {
	for i := range m.frame.rows {
		if m.frame.rows[i].Place == m.backend {
			return i
		}
	}
	return -1
}

// sessionAt is the row of the selected session; -1 if it has gone.
func (m *model) sessionAt() int {
	for i := range m.frame.sessions.Sessions {
		if m.frame.sessions.Sessions[i].ID == m.session {
			return i
		}
	}
	return -1
}

// press does what a key means.
func (m *model) press(key string) tea.Cmd {
	if key == "ctrl+c" {
		return tea.Quit
	}
	if q := m.question; q != nil {
		m.question, m.notice = nil, ""
		if key == "y" || key == "Y" {
			return func() tea.Msg {
				notice, err := q.act(m.ctx)
				return acted{notice, err}
			}
		}
		return nil
	}
	m.notice = ""
	switch key {
	case "q":
		return tea.Quit
	case "tab", "shift+tab", "left", "right":
		m.focus = 1 - m.focus
	case "o":
		m.order = (m.order + 1) % len(orders)
		return m.poll()
	case "enter":
		return m.narrow()
	case "esc":
		m.only = client.Place{}
		return m.poll()
	case "d":
		m.askMode("drain")
	case "r":
		m.askMode("ready")
	case "m":
		m.askMode("maintenance")
	case "k":
		m.askKill()
	default:
		m.move(key)
	}
	return nil
}

// narrow shows the sessions of the selected backend alone, or those of all again.
func (m *model) narrow() tea.Cmd {
	if m.only == m.backend {
		m.only = client.Place{}
	} else {
		m.only = m.backend
	}
	return m.poll()
}

// move selects another row.
func (m *model) move(key string) {
	page := max(1, m.height/3)
	by, ok := map[string]int{
		"up": -1, "down": 1, "pgup": -page, "pgdown": page, "home": -1 << 30, "end": 1 << 30,
	}[key]
	if !ok || m.frame == nil {
		return
	}
	to := func(at, n int) int { return max(0, min(n-1, at+by)) }
	if n := len(m.frame.rows); m.focus == backends && n > 0 {
		m.backend = m.frame.rows[to(m.backendAt(), n)].Place
	}
	if n := len(m.frame.sessions.Sessions); m.focus == sessions && n > 0 {
		m.session = m.frame.sessions.Sessions[to(m.sessionAt(), n)].ID
	}
}

// askMode asks whether to change the mode of the selected backend.
func (m *model) askMode(mode string) {
	b := m.selected()
	switch {
	case b == nil:
		return
	case b.Mode == mode:
		m.notice = fmt.Sprintf("%s is in mode %s already", b.Place, mode)
		return
	case b.Mode == "removed":
		m.notice = fmt.Sprintf("%s is removed", b.Place)
		return
	}
	at := b.Place
	m.question = &question{
		text: fmt.Sprintf("%s: mode %s? %s", at, mode, consequence(mode, b.Active)),
		act: func(ctx context.Context) (string, error) {
			_, err := m.api.ChangeBackend(ctx, at.Pool, at.Backend, client.Settings{Mode: &mode})
			return fmt.Sprintf("%s: mode %s", at, mode), err
		},
	}
}

// consequence is what a mode means for who is there.
func consequence(mode string, active int64) string {
	if mode == "ready" {
		return "It gets new sessions again."
	}
	if active == 0 {
		return "No new sessions."
	}
	return fmt.Sprintf("No new sessions; %s on.", verb(active))
}

func verb(active int64) string {
	if active == 1 {
		return "1 live session goes"
	}
	return fmt.Sprintf("%d live sessions go", active)
}

// selected is the selected backend; nil if there is none.
func (m *model) selected() *row {
	if m.frame == nil {
		return nil
	}
	if i := m.backendAt(); i >= 0 {
		return &m.frame.rows[i]
	}
	return nil
}

// askKill asks whether to cut the selected session or, from the backends, all sessions of
// the selected backend.
func (m *model) askKill() {
	switch b := m.selected(); {
	case m.focus == sessions && m.frame != nil && m.sessionAt() >= 0:
		m.askKillSession(&m.frame.sessions.Sessions[m.sessionAt()])
	case m.focus == backends && b != nil:
		at := b.Place
		m.question = &question{
			text: fmt.Sprintf("%s: kill %s?", at, show.Plural(int(b.Active), "live session")),
			act: func(ctx context.Context) (string, error) {
				n, err := m.api.KillBackend(ctx, at.Pool, at.Backend)
				return fmt.Sprintf("%s: killed %s", at, show.Plural(n, "session")), err
			},
		}
	}
}

func (m *model) askKillSession(s *client.Session) {
	id := s.ID
	m.question = &question{
		text: fmt.Sprintf("kill session %s of client %s?", id, clientOf(s)),
		act: func(ctx context.Context) (string, error) {
			err := m.api.KillSession(ctx, id)
			if client.IsUnknown(err) {
				err = errors.New("the session has ended")
			}
			return "killed session " + id, err
		},
	}
}
