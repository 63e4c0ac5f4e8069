package server

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/netip"
	"slices"

	"github.com/limeload/limeload/healthcheck"
	"github.com/limeload/limeload/pkg/config"
)

// Probers makes the probers that one configuration describes. It holds what they share,
// and what should outlive a change of the configuration: what agents have said, addresses
// of hosts, and certificates from files that cannot be read any more. It is used by one
// goroutine at a time; the probers that it makes are not bound to that.
type Probers struct {
	tcp         *healthcheck.TCP
	icmp        *healthcheck.ICMP
	agents      map[agentKey]*healthcheck.Agent
	hosts       map[string]*probedHost    // by name
	authorities map[string]*x509.CertPool // by file

	read     func(file string) (*x509.CertPool, error) // what is in a file of certificates
	earlier  *Probers                                  // of the configuration before; nil if there was none
	warnings []error                                   // files that could be read then, and not now
}

// agentKey is what makes an agent the same one in another configuration.
type agentKey struct{ pool, backend, address, part, send string }

// NewProbers is the Probers of a first configuration.
func NewProbers() *Probers {
	return &Probers{
		tcp: healthcheck.NewTCP(), icmp: healthcheck.NewICMP(),
		agents:      map[agentKey]*healthcheck.Agent{},
		hosts:       map[string]*probedHost{},
		authorities: map[string]*x509.CertPool{},
		read:        authoritiesOnDisk,
	}
}

// next is the Probers of the next configuration. It takes over what that uses again, and
// has what is in files from read.
func (ps *Probers) next(read func(file string) (*x509.CertPool, error)) *Probers {
	n := NewProbers()
	n.tcp, n.icmp, n.read = ps.tcp, ps.icmp, read
	n.earlier = &Probers{agents: ps.agents, hosts: ps.hosts, authorities: ps.authorities}
	return n
}

// again answers what is at a key of the map that of picks, or was in the earlier
// Probers, or else what make makes; and keeps it.
func again[K comparable, V any](ps *Probers, of func(*Probers) map[K]*V, key K, make func() *V) *V {
	v := of(ps)[key]
	if v == nil && ps.earlier != nil {
		v = of(ps.earlier)[key]
	}
	if v == nil {
		v = make()
	}
	of(ps)[key] = v
	return v
}

// Prober makes the prober of a backend of a pool, which is asked with the backend's own
// address: which other host or port is probed, it knows itself. It is nil if the pool
// has no probes. The error is a file of certificates that cannot be read.
func (ps *Probers) Prober(p *config.Pool, b *config.Backend) (healthcheck.Prober, error) {
	h := p.HealthOf(b)
	if h.Type == config.HealthNone {
		return nil, nil
	}
	var all healthcheck.All
	for i, probe := range h.Probes() {
		m := maker{Probers: ps, pool: p.Name, backend: b, probe: &probe, name: partName(&h, i)}
		made, err := m.make()
		switch {
		case err != nil && p.Name == "": // of a target that no file names
			return nil, err
		case err != nil:
			return nil, fmt.Errorf("pool %s: backend %s: %w", p.Name, b.Name, err)
		}
		all = append(all, healthcheck.Part{Name: m.name, Prober: ps.place(made, &probe, b.Address.Port)})
	}
	if len(all) == 1 {
		return all[0].Prober, nil
	}
	return all, nil
}

// makeProbers makes those of all backends.
func (p *pool) makeProbers(ps *Probers) error {
	p.probers = map[identity]healthcheck.Prober{}
	for i := range p.cfg.Backends {
		b := &p.cfg.Backends[i]
		prober, err := ps.Prober(p.cfg, b)
		if err != nil {
			return err
		}
		p.probers[identity{b.Name, b.Address.String()}] = prober
	}
	return nil
}

// shareProbes reports whether the probes of a pool hold something of their Probers: a
// file that is read anew at every change, or what outlives one.
func shareProbes(p *config.Pool) bool {
	for _, probe := range p.Health.Probes() {
		if probe.TLS.CAFile != "" || probe.Host != "" || probe.Type == config.HealthAgent {
			return true
		}
	}
	return slices.ContainsFunc(p.Backends, func(b config.Backend) bool { return b.Health.Host != "" })
}

// probersFor are the next Probers, for a change that has asked for what it needs. Files that
// it has not asked for are as they were.
func (s *Server) probersFor(k *known) *Probers {
	return s.probers.next(func(file string) (*x509.CertPool, error) {
		if pool := s.probers.authorities[file]; pool != nil && !k.anew {
			return pool, nil
		}
		return k.files.authority(file)
	})
}

// useProbers makes ps that of the configuration that runs.
func (s *Server) useProbers(ps *Probers) {
	for _, err := range ps.warnings {
		s.log.Warn().Err(err).Msg("what was read before is kept")
	}
	ps.earlier = nil
	s.probers = ps
}

// warner is told the warning of every result of a backend's probe, and logs one that is
// new. Those of certificates change once a day, in the last two days once an hour.
func (s *Server) warner(pool, backend string) func(warning string) {
	last := ""
	return func(warning string) {
		if warning != last && warning != "" {
			s.log.Warn().Str("pool", pool).Str("backend", backend).Str("warning", warning).Msg("probe warns")
		}
		last = warning
	}
}

// partName is the type of a probe, with its number where that is not the first one of
// the type.
func partName(h *config.Health, i int) string {
	probes, n := h.Probes(), 1
	for _, p := range probes[:i] {
		if p.Type == probes[i].Type {
			n++
		}
	}
	if n == 1 {
		return probes[i].Type
	}
	return fmt.Sprintf("%s-%d", probes[i].Type, n)
}

// maker makes one prober.
type maker struct {
	*Probers
	pool    string
	backend *config.Backend
	probe   *config.Probe
	name    string // of the probe, unique for its backend
}

func (m *maker) make() (healthcheck.Prober, error) {
	switch t, err := m.tls(); {
	case err != nil:
		return nil, err
	case t == nil:
		return m.prober(nil), nil
	default:
		return healthcheck.WarnOfExpiry(m.prober(t), m.probe.TLS.Warn), nil
	}
}

// prober makes the prober of each type; t is nil without TLS.
func (m *maker) prober(t *tls.Config) healthcheck.Prober {
	p := m.probe
	switch p.Type {
	case config.HealthTCP:
		return m.tcp
	case config.HealthICMP:
		return m.icmp
	case config.HealthTLS:
		return &healthcheck.TLS{Config: t}
	case config.HealthHTTP, config.HealthHTTPS:
		return m.http(t)
	case config.HealthSendExpect:
		return &healthcheck.SendExpect{Steps: steps(p.Steps), TLS: t, User: p.User, Password: secret(p.Password)}
	case config.HealthExec:
		return m.exec()
	case config.HealthPostgres:
		return &healthcheck.Postgres{DB: m.database(t), Database: p.Database, Query: p.Query}
	case config.HealthMySQL:
		return &healthcheck.MySQL{DB: m.database(t), Query: p.Query}
	case config.HealthRedis:
		return &healthcheck.Redis{DB: m.database(t)}
	case config.HealthAgent:
		return m.agent()
	}
	panic("server: no prober for health type " + p.Type) // Validate admits no other
}

func (m *maker) http(t *tls.Config) *healthcheck.HTTP {
	c := &m.probe.HTTP
	p := &healthcheck.HTTP{
		Method: c.Method, Path: c.Path, Host: c.Host, TLS: t,
		User: m.probe.User, Password: secret(m.probe.Password),
		Body: c.Body, BodyRegexp: c.BodyRegexp,
	}
	for name, value := range c.Headers {
		text := healthcheck.Literal(value)
		if r, isSecret, _ := config.SecretHeader(value); isSecret {
			text = secret(r)
		}
		p.Headers = append(p.Headers, healthcheck.Header{Name: name, Value: text})
	}
	for _, r := range c.Status {
		p.Status = append(p.Status, healthcheck.StatusRange(r))
	}
	return p
}

func (m *maker) exec() *healthcheck.Exec {
	return &healthcheck.Exec{
		Command: m.probe.Exec.Command, User: m.probe.User, Password: secret(m.probe.Password),
		Env: []string{
			"LIMELOAD_POOL=" + m.pool, "LIMELOAD_BACKEND=" + m.backend.Name,
			"HAPROXY_PROXY_NAME=" + m.pool, "HAPROXY_SERVER_NAME=" + m.backend.Name,
		},
	}
}

func (m *maker) database(t *tls.Config) healthcheck.DB {
	p := m.probe
	return healthcheck.DB{
		User: p.User, Password: secret(p.Password),
		TLS: t, TLSRequired: p.TLS.Required, Role: p.Role,
		MaxLag:  healthcheck.Lag{Bytes: p.MaxLag.Bytes, Time: p.MaxLag.Time},
		LagDown: p.LagPolicy == config.LagDown,
	}
}

// agent is the agent that the backend had before, if there was one.
func (m *maker) agent() *healthcheck.Agent {
	key := agentKey{m.pool, m.backend.Name, m.backend.Address.String(), m.name, m.probe.Agent.Send}
	return again(m.Probers, func(ps *Probers) map[agentKey]*healthcheck.Agent { return ps.agents }, key,
		func() *healthcheck.Agent { return healthcheck.NewAgent(m.probe.Agent.Send) })
}

// tls is how the probe encrypts; nil if it does not.
func (m *maker) tls() (*tls.Config, error) {
	c := &m.probe.TLS
	if !c.Enabled {
		return nil, nil
	}
	t := &tls.Config{ServerName: m.serverName(), NextProtos: c.ALPN, InsecureSkipVerify: !c.Verify}
	if c.CAFile == "" || !c.Verify {
		return t, nil
	}
	var err error
	t.RootCAs, err = m.trust(c.CAFile)
	return t, err
}

// serverName is the name to ask for: a host name if there is one, else "" for the
// address that is probed.
func (m *maker) serverName() string {
	if name := m.probe.TLS.ServerName; name != "" {
		return name
	}
	host := m.backend.Address.Host
	if m.probe.Host != "" {
		host = m.probe.Host
	}
	switch _, err := netip.ParseAddr(host); {
	case host == "": // a unix socket, which is not verified by name
		return "localhost"
	case err == nil:
		return ""
	}
	return host
}

// trust is what is in a file of certificates, which is read once. Where it cannot be
// read, what was in it before counts: a running server is not stopped by that.
func (ps *Probers) trust(file string) (*x509.CertPool, error) {
	if pool := ps.authorities[file]; pool != nil {
		return pool, nil
	}
	pool, err := ps.read(file)
	if err != nil {
		err = fmt.Errorf("health.tls.ca_file: %w", err)
		if ps.earlier != nil {
			pool = ps.earlier.authorities[file]
		}
		if pool == nil {
			return nil, err
		}
		ps.warnings = append(ps.warnings, err)
	}
	ps.authorities[file] = pool
	return pool, nil
}

func secret(r config.Reference) healthcheck.Secret {
	switch {
	case r.File != "":
		return healthcheck.FileSecret(r.File)
	case r.Env != "":
		return healthcheck.EnvSecret(r.Env)
	}
	return nil
}

func steps(all []config.Step) []healthcheck.Step {
	out := make([]healthcheck.Step, len(all))
	for i, s := range all {
		out[i] = healthcheck.Step{
			Send: []byte(s.Send), Expect: []byte(s.Expect), ExpectRegexp: s.ExpectRegexp, Timeout: s.Timeout,
		}
		if len(s.SendHex) > 0 {
			out[i].Send = s.SendHex
		}
		if len(s.ExpectHex) > 0 {
			out[i].Expect = s.ExpectHex
		}
	}
	return out
}
