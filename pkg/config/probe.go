package config

import (
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
	"time"
)

// Probe is what a server is asked, and what it has to answer. Most keys belong to
// some types only; which, Validate tells.
type Probe struct {
	// Type is one of HealthTypes.
	Type string `toml:"type"`

	// Host is probed instead of the backend's own: an IP address, or a host name,
	// which is resolved again from time to time. Empty is the backend's own.
	Host string `toml:"host"`

	// Port is probed instead of the backend's own, 0..65535; 0 is the
	// backend's own.
	Port int `toml:"port"`

	// User logs in; empty does without a login where the server's first words
	// tell enough.
	User string `toml:"user"`

	// Password is where User's password is read, at every probe.
	Password Reference `toml:"password"`

	// Database is the one to log in to; empty is the server's default.
	Database string `toml:"database"`

	// Query is run after the login and has to succeed; empty runs none.
	Query string `toml:"query"`

	// Role is what the server has to be: one of Roles.
	Role string `toml:"role"`

	// MaxLag is how far a replica may be behind.
	MaxLag MaxLag `toml:"max_lag"`

	// LagPolicy is what a replica beyond MaxLag is: one of LagPolicies.
	LagPolicy string `toml:"lag_policy"`

	TLS   ProbeTLS   `toml:"tls"`
	HTTP  ProbeHTTP  `toml:"http"`
	Steps []Step     `toml:"step"` // of type send-expect, one at least
	Exec  ProbeExec  `toml:"exec"`
	Agent ProbeAgent `toml:"agent"`
}

// Values of Probe.Type.
const (
	HealthNone       = "none"
	HealthTCP        = "tcp"
	HealthICMP       = "icmp"
	HealthTLS        = "tls"
	HealthHTTP       = "http"
	HealthHTTPS      = "https"
	HealthSendExpect = "send-expect"
	HealthExec       = "exec"
	HealthPostgres   = "postgres"
	HealthMySQL      = "mysql"
	HealthRedis      = "redis"
	HealthAgent      = "agent"
)

// Values of Probe.Role.
const (
	RoleAny     = "any"
	RolePrimary = "primary"
	RoleReplica = "replica"
)

// Values of Probe.LagPolicy.
const (
	LagDegrade = "degrade" // less weight
	LagDown    = "down"
)

// ProbeTLS is how a probe encrypts.
type ProbeTLS struct {
	// Enabled asks for TLS. Where it is not written, it is true for the types tls
	// and https alone.
	Enabled bool `toml:"enabled"`

	// Required makes a server without TLS one that is down; otherwise it is asked
	// without. Only postgres and redis know servers that may have it or not.
	Required bool `toml:"required"`

	// Verify asks for a certificate that is valid for ServerName and signed by
	// CAFile.
	Verify bool `toml:"verify"`

	// CAFile names a file of certificates in PEM; empty is the system's.
	CAFile string `toml:"ca_file"`

	// ServerName is asked for (SNI) and verified; empty is the host that is
	// probed.
	ServerName string `toml:"server_name"`

	// ALPN are the protocols to offer; the server has to choose one of them.
	ALPN []string `toml:"alpn"`

	// Warn is how long before its certificate expires a server is complained
	// about; 0 is never.
	Warn time.Duration `toml:"warn"`
}

// ProbeHTTP is one request, and the answer that it wants.
type ProbeHTTP struct {
	Method string `toml:"method"`
	Path   string `toml:"path"` // with a query, if any

	// Host is the Host header; empty is the host that is probed, with its port.
	Host string `toml:"host"`

	// Headers are sent besides; a value that is a Reference is read at every
	// probe.
	Headers map[string]string `toml:"headers"`

	// Status holds the codes that are good, one range at least.
	Status []StatusRange `toml:"status"`

	// Body has to be in the body; empty asks for nothing.
	Body string `toml:"body"`

	// BodyRegexp has to match in the body; nil asks for nothing.
	BodyRegexp *regexp.Regexp `toml:"body_regexp"`
}

// Step is one step of a conversation: what to say, and then what to wait for. At
// most one of the Sends and one of the Expects is given, and at least one of all.
type Step struct {
	// Send is sent as it is, but for %{user} and %{password}, which stand for
	// those of the probe.
	Send    string `toml:"send"`
	SendHex Hex    `toml:"send_hex"`

	// Expect has to come, whatever comes before it.
	Expect       string         `toml:"expect"`
	ExpectRegexp *regexp.Regexp `toml:"expect_regexp"`
	ExpectHex    Hex            `toml:"expect_hex"`

	// Timeout bounds the step; 0 is what is left of the probe's.
	Timeout time.Duration `toml:"timeout"`
}

// ProbeExec is a command that knows whether a server is up.
type ProbeExec struct {
	// Command is the path of a program, and its arguments; no shell reads it. The
	// address and the port that are probed are added as the last two.
	Command []string `toml:"command"`
}

// ProbeAgent is how an agent is asked.
type ProbeAgent struct {
	// Send is what the agent wants to hear first; empty is nothing.
	Send string `toml:"send"`
}

// BackendHealth replaces, for one backend, keys of its pool's health section (not of
// those under also). What is empty or 0 replaces nothing.
type BackendHealth struct {
	Host     string     `toml:"host"`
	Port     int        `toml:"port"`
	User     string     `toml:"user"`
	Password Reference  `toml:"password"`
	TLS      BackendTLS `toml:"tls"`
}

// BackendTLS is the part of ProbeTLS that differs from backend to backend.
type BackendTLS struct {
	ServerName string `toml:"server_name"`
}

// HealthOf is how b, a backend of the pool, is probed: as the pool says, but for what
// b itself replaces.
func (p *Pool) HealthOf(b *Backend) Health {
	h := p.Health
	replace(&h.Host, b.Health.Host)
	replace(&h.Port, b.Health.Port)
	replace(&h.User, b.Health.User)
	replace(&h.Password, b.Health.Password)
	replace(&h.TLS.ServerName, b.Health.TLS.ServerName)
	return h
}

// healthOfAll is Health with the user that all backends have, each its own, where the pool
// names none.
func (p *Pool) healthOfAll() Health {
	h := p.Health
	for i := range p.Backends {
		own := p.Backends[i].Health.User
		if own == "" {
			return p.Health
		}
		replace(&h.User, own)
	}
	return h
}

// replace sets dst to v unless that is the zero value.
func replace[T comparable](dst *T, v T) {
	var zero T
	if v != zero {
		*dst = v
	}
}

// Probes are the probe of h and those under also: all must pass.
func (h *Health) Probes() []Probe {
	return append([]Probe{h.Probe}, h.Also...)
}

// NeedsName says whether the probe verifies a name that a target without a host does not
// have. Databases speak no TLS over a unix socket.
func (p *Probe) NeedsName() bool {
	always := p.Type == HealthTLS || p.Type == HealthHTTPS || p.Type == HealthSendExpect
	return always && p.TLS.Enabled && p.TLS.Verify && p.TLS.ServerName == ""
}

// WantedRole is the role that a backend has to have, in whichever of the probes it
// is asked for: RolePrimary, RoleReplica or RoleAny.
func (h *Health) WantedRole() string {
	for _, p := range h.Probes() {
		if p.Role != RoleAny && p.Role != "" {
			return p.Role
		}
	}
	return RoleAny
}

// Reference says where a secret is read, so that no configuration holds one. The
// zero value is no secret.
type Reference struct {
	File string // the absolute path of a file that holds it
	Env  string // the environment variable that holds it
}

// String is the reference as a file writes it: file:/path or env:NAME.
func (r Reference) String() string {
	switch {
	case r.File != "":
		return "file:" + r.File
	case r.Env != "":
		return "env:" + r.Env
	}
	return ""
}

// IsZero says whether there is no secret.
func (r Reference) IsZero() bool { return r == Reference{} }

// errBareSecret does not repeat what may be the secret itself.
var errBareSecret = errors.New(`a secret is not written here; want "file:/path" or "env:NAME", where it is read`)

// ParseReference parses file:/path and env:NAME; "" is no secret. What it does not
// understand may be a secret, and is not repeated in the error.
func ParseReference(s string) (Reference, error) {
	if s == "" {
		return Reference{}, nil
	}
	if path, ok := strings.CutPrefix(s, "file:"); ok {
		if !strings.HasPrefix(path, "/") || strings.ContainsFunc(path, notPrint) {
			return Reference{}, errors.New("the path of a secret's file is not absolute; want file:/path")
		}
		return Reference{File: path}, nil
	}
	if name, ok := strings.CutPrefix(s, "env:"); ok {
		if name == "" || strings.ContainsFunc(name, notVariable) {
			return Reference{}, errors.New("a secret's variable has no such name; want env:NAME, of letters, digits and '_'")
		}
		return Reference{Env: name}, nil
	}
	return Reference{}, errBareSecret
}

func notVariable(r rune) bool { return !isAlnum(r) && r != '_' }

// MaxLag bounds how far a replica may be behind, by one of its fields. The zero value
// is no bound.
type MaxLag struct {
	Bytes int64 // of the log that the primary writes
	Time  time.Duration
}

// String is the bound as a file writes it, such as 16MB or 10s.
func (l MaxLag) String() string {
	if l.Time != 0 {
		return shortDuration(l.Time)
	}
	if l.Bytes == 0 {
		return ""
	}
	for i := len(sizes) - 1; i > 0; i-- {
		if unit := int64(1) << (10 * i); l.Bytes%unit == 0 {
			return fmt.Sprint(l.Bytes/unit, sizes[i])
		}
	}
	return fmt.Sprint(l.Bytes, "B")
}

// sizes are the units of bytes, each 1024 times the one before, as PostgreSQL counts.
var sizes = []string{"B", "kB", "MB", "GB", "TB"}

// parseMaxLag parses a number of bytes with its unit, or a duration.
func parseMaxLag(s string) (MaxLag, error) {
	if s == "" {
		return MaxLag{}, nil
	}
	for i := len(sizes) - 1; i >= 0; i-- {
		digits, ok := strings.CutSuffix(s, sizes[i])
		if digits = strings.TrimSpace(digits); !ok || !isDigits(digits) || digits == "" {
			continue
		}
		n, err := strconv.ParseInt(digits, 10, 64)
		if most := int64(1) << 50; err != nil || n < 1 || n > most>>(10*i) {
			return MaxLag{}, fmt.Errorf("%q is out of range 1B..1024TB", s)
		}
		return MaxLag{Bytes: n << (10 * i)}, nil
	}
	d, err := time.ParseDuration(s)
	switch {
	case err != nil:
		return MaxLag{}, fmt.Errorf("%q is neither bytes nor time; want one such as \"16MB\" or \"10s\"", s)
	case d < leastDuration:
		return MaxLag{}, fmt.Errorf("%s is too short; want %s or more", d, leastDuration)
	}
	return MaxLag{Time: d}, nil
}

// StatusRange is a range of HTTP's status codes, both ends included.
type StatusRange struct{ First, Last int }

// String is the range as a file writes it: 200 or 200-399.
func (r StatusRange) String() string {
	if r.First == r.Last {
		return fmt.Sprint(r.First)
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// parseStatus parses 200, 200-399 and 2xx.
func parseStatus(s string) (StatusRange, error) {
	first, last, isRange := strings.Cut(s, "-")
	if !isRange {
		last = first
	}
	if len(s) == 3 && strings.EqualFold(s[1:], "xx") {
		first, last = s[:1]+"00", s[:1]+"99"
	}
	r := StatusRange{statusCode(first), statusCode(last)}
	switch {
	case r.First == 0 || r.Last == 0:
		return StatusRange{}, fmt.Errorf("%q is no status; want one such as \"200\", \"200-399\" or \"2xx\", out of 100..599", s)
	case r.First > r.Last:
		return StatusRange{}, fmt.Errorf("%q is empty; want the lower code first", s)
	}
	return r, nil
}

// statusCode is the code that s writes, or 0.
func statusCode(s string) int {
	n, err := parseInt(s)
	if err != nil || len(s) != 3 || n < 100 || n > 599 {
		return 0
	}
	return n
}

// Hex are bytes, written as hexadecimal digits; spaces between them do not count.
type Hex []byte

// String is the bytes as a file writes them.
func (h Hex) String() string { return fmt.Sprintf("%x", []byte(h)) }

func parseHex(s string) (Hex, error) {
	digits := strings.Join(strings.Fields(s), "")
	if len(digits)%2 != 0 {
		return nil, fmt.Errorf("%q has half a byte; want two digits for each", s)
	}
	h, err := hex.DecodeString(digits)
	if err != nil {
		return nil, fmt.Errorf("%q is not hexadecimal; want bytes such as \"00 ff\"", s)
	}
	return h, nil
}

func parseRegexp(s string) (*regexp.Regexp, error) {
	if s == "" {
		return nil, nil
	}
	re, err := regexp.Compile(s)
	if err != nil {
		return nil, fmt.Errorf("%q is no regular expression: %s", s, regexpFault(err))
	}
	return re, nil
}

// regexpFault is what is wrong, without the expression around it.
func regexpFault(err error) string {
	var fault *syntax.Error
	if errors.As(err, &fault) {
		return fmt.Sprintf("%s: %q", fault.Code, fault.Expr)
	}
	return strconv.Quote(err.Error())
}

// Roles returns the values of Probe.Role.
func Roles() []string { return []string{RoleAny, RolePrimary, RoleReplica} }

// LagPolicies returns the values of Probe.LagPolicy.
func LagPolicies() []string { return []string{LagDegrade, LagDown} }

// HealthTypes returns the values of Probe.Type.
func HealthTypes() []string {
	return []string{
		HealthNone, HealthTCP, HealthICMP, HealthTLS, HealthHTTP, HealthHTTPS, HealthSendExpect,
		HealthExec, HealthPostgres, HealthMySQL, HealthRedis, HealthAgent,
	}
}
