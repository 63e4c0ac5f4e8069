package config

import (
	"cmp"
	"path"
	"reflect"
	"slices"
	"strings"
)

const maxProbes = 4096

// health checks the section of a pool, but for what a backend may replace in it.
func (v *validator) health(path string, h Health) {
	v.positive(path+".interval", h.Interval)
	v.positive(path+".timeout", h.Timeout)
	if h.Interval >= leastDuration && h.Timeout > h.Interval && h.Type != HealthNone {
		v.wrong(path+".timeout", "%s is longer than the interval of %s", h.Timeout, h.Interval)
	}
	v.inRange(path+".rise", h.Rise, 1, maxThreshold)
	v.inRange(path+".fall", h.Fall, 1, maxThreshold)
	v.zeroOrMore(path+".fast_interval", h.FastInterval)
	v.zeroOrMore(path+".down_interval", h.DownInterval)
	v.probe(path, h.Probe)
	for i, p := range h.Also {
		at := alsoPath(path, i)
		v.probe(at, p)
		switch {
		case h.Type == HealthNone:
			v.wrong(at, "there is nothing that it could be added to: health.type is none")
		case p.Type == HealthNone:
			v.wrong(at+".type", "none asks nothing; leave this table away")
		}
	}
	v.oneWantedRole(path, h)
}

// oneWantedRole checks that the probes do not contradict each other.
func (v *validator) oneWantedRole(path string, h Health) {
	for i, p := range h.Also {
		if want := h.WantedRole(); p.Role != RoleAny && p.Role != want && slices.Contains(Roles(), p.Role) {
			v.wrong(alsoPath(path, i)+".role", "nothing is %s and %s at the same time", p.Role, want)
		}
	}
}

// probe checks one probe.
func (v *validator) probe(path string, p Probe) {
	v.oneOf(path+".type", p.Type, "health type", HealthTypes())
	v.probeHost(path+".host", p.Host)
	v.inRange(path+".port", p.Port, 0, maxPort)
	if p.Type == HealthICMP && p.Port != 0 {
		v.wrong(path+".port", "icmp has no port")
	}
	v.applicable(path, p)
	v.login(path, p)
	v.replica(path, p)
	v.probeTLS(path+".tls", p)
	v.http(path+".http", p.HTTP)
	v.steps(path, p)
	v.command(path+".exec.command", p)
}

// keyType is a key, or a table with all that is in it, and the types that it is for.
type keyType struct {
	key   string
	types []string
}

// keyTypes says which types a key makes sense for. The others ignore it, which would
// be a surprise where somebody wrote it.
var keyTypes = []keyType{
	{"user", []string{HealthPostgres, HealthMySQL, HealthRedis, HealthHTTP, HealthHTTPS, HealthSendExpect, HealthExec}},
	{"password", []string{HealthPostgres, HealthMySQL, HealthRedis, HealthHTTP, HealthHTTPS, HealthSendExpect, HealthExec}},
	{"database", []string{HealthPostgres, HealthMySQL}},
	{"query", []string{HealthPostgres, HealthMySQL}},
	{"role", []string{HealthPostgres, HealthMySQL, HealthRedis}},
	{"max_lag", []string{HealthPostgres, HealthMySQL, HealthRedis}},
	{"lag_policy", []string{HealthPostgres, HealthMySQL, HealthRedis}},
	{"tls", []string{HealthTLS, HealthHTTPS, HealthSendExpect, HealthPostgres, HealthMySQL, HealthRedis}},
	{"tls.required", []string{HealthPostgres, HealthMySQL}},
	{"tls.alpn", []string{HealthTLS, HealthHTTPS, HealthSendExpect}},
	{"http", []string{HealthHTTP, HealthHTTPS}},
	{"step", []string{HealthSendExpect}},
	{"exec", []string{HealthExec}},
	{"agent", []string{HealthAgent}},
}

// applicable checks that the keys that were changed mean something to the type.
func (v *validator) applicable(path string, p Probe) {
	if !slices.Contains(HealthTypes(), p.Type) {
		return
	}
	written, usual := reflect.ValueOf(p), reflect.ValueOf(DefaultProbe())
	for _, k := range keyTypes {
		if !slices.Contains(k.types, p.Type) && !isSame(written, usual, k.key) {
			v.wrong(path+"."+k.key, "means nothing to health type %s; it is for %s", p.Type, strings.Join(k.types, ", "))
		}
	}
}

// isSame says whether two probes have the same for a key, or for all of a table. A key that
// is written with its default changes nothing.
func isSame(a, b reflect.Value, key string) bool {
	for part := range strings.SplitSeq(key, ".") {
		fields := fieldsOf(a.Type())
		f := fields[slices.IndexFunc(fields, func(f field) bool { return f.key == part })]
		a, b = f.of(a), f.of(b)
	}
	switch {
	case isTable(a.Type()):
		return len(diffTable("", a, b)) == 0
	case a.Kind() == reflect.Slice && a.Len()+b.Len() == 0:
		return true
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}

// usesKey says whether a key of keyTypes means something to a type.
func usesKey(key, typ string) bool {
	return slices.ContainsFunc(keyTypes, func(k keyType) bool { return k.key == key && slices.Contains(k.types, typ) })
}

func (v *validator) probeHost(path, host string) {
	if _, err := parseHost(host, false); err != nil {
		v.wrong(path, "%s", err)
	}
}

// login checks that there is a user where something is asked that only users may.
func (v *validator) login(path string, p Probe) {
	if p.User != "" {
		return
	}
	switch p.Type {
	case HealthPostgres, HealthMySQL:
		for _, k := range []struct {
			key   string
			given bool
		}{
			{"password", !p.Password.IsZero()},
			{"database", p.Database != ""},
			{"query", p.Query != ""},
			{"role", p.Role != RoleAny && slices.Contains(Roles(), p.Role)},
			{"max_lag", p.MaxLag != MaxLag{}},
		} {
			if k.given {
				v.wrong(path+"."+k.key, "needs user: without a login, only the server's first words are looked at")
			}
		}
	}
}

// replica checks what is asked of replicas.
func (v *validator) replica(path string, p Probe) {
	v.oneOf(path+".role", p.Role, "role", Roles())
	v.oneOf(path+".lag_policy", p.LagPolicy, "value", LagPolicies())
	if p.MaxLag != (MaxLag{}) && p.Role == RolePrimary {
		v.wrong(path+".max_lag", "a primary does not lag; want role any or replica")
	}
}

func (v *validator) probeTLS(path string, p Probe) {
	v.zeroOrMore(path+".warn", p.TLS.Warn)
	if p.TLS.ServerName != "" {
		v.probeHost(path+".server_name", p.TLS.ServerName)
	}
	switch {
	case p.TLS.Enabled:
	case p.Type == HealthTLS || p.Type == HealthHTTPS:
		v.wrong(path+".enabled", "health type %s is always encrypted", p.Type)
	case usesKey("tls", p.Type) && !isSame(reflect.ValueOf(p), reflect.ValueOf(DefaultProbe()), "tls"):
		v.wrong(path, "is not used; want enabled = true, too")
	}
	if !p.TLS.Verify && p.TLS.CAFile != "" {
		v.wrong(path+".ca_file", "is not used, because verify is false")
	}
	for i, name := range p.TLS.ALPN {
		if name == "" || len(name) > 255 {
			v.wrong(index(path+".alpn", i), "%q is no protocol's name; want 1..255 bytes", name)
		}
	}
}

func (v *validator) http(path string, h ProbeHTTP) {
	if !isToken(h.Method) {
		v.wrong(path+".method", "%q is no method; want one such as GET or HEAD", h.Method)
	}
	if !strings.HasPrefix(h.Path, "/") || strings.ContainsFunc(h.Path, notInTarget) {
		v.wrong(path+".path", "%q is no path; want one such as \"/health?full\", with %%20 for a space", h.Path)
	}
	if strings.ContainsFunc(h.Host, notInTarget) || strings.Contains(h.Host, "/") {
		v.wrong(path+".host", "%q is no host; want one such as \"example.org\"", h.Host)
	}
	if len(h.Status) == 0 {
		v.wrong(path+".status", "is empty; want at least one code")
	}
	for _, name := range sortedKeys(h.Headers) {
		v.header(join(path+".headers", name), name, h.Headers[name])
	}
}

func (v *validator) header(path, name, value string) {
	bad := func(r rune) bool { return r != '\t' && notPrint(r) }
	switch _, isSecret, err := SecretHeader(value); {
	case !isToken(name):
		v.wrong(path, "%q is no header's name", name)
	case strings.EqualFold(name, "host"):
		v.wrong(path, "is what http.host is for")
	case holdsSecret(name) && !isSecret:
		v.wrong(path, `a secret is not written here; want user and password, or "file:/path" or "env:NAME", where it is read`)
	case err != nil:
		v.wrong(path, "%s", err)
	case strings.ContainsFunc(value, bad):
		v.wrong(path, "%q is no header's value", value)
	}
}

// holdsSecret says whether a header is there to hold a secret, going by its name: the
// configuration is shown, with the values of headers.
func holdsSecret(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc([]string{"authorization", "cookie", "token", "secret", "password", "api-key", "apikey"},
		func(word string) bool { return strings.Contains(name, word) })
}

// SecretHeader answers where the value of a header is read, if it is a reference.
func SecretHeader(value string) (r Reference, isSecret bool, err error) {
	if !strings.HasPrefix(value, "file:") && !strings.HasPrefix(value, "env:") {
		return Reference{}, false, nil
	}
	r, err = ParseReference(value)
	return r, true, err
}

// isToken is RFC 9110's, of which methods and names of headers are.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !isAlnum(r) && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
}

// notInTarget tells what would end a request's target or line.
func notInTarget(r rune) bool { return r <= ' ' || r >= 0x7f }

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// maxSteps is far more than any greeting takes.
const maxSteps = 64

func (v *validator) steps(path string, p Probe) {
	switch n := len(p.Steps); {
	case p.Type != HealthSendExpect:
	case n == 0:
		v.wrong(path+".step", "none is defined; want at least one [[%s.step]]", unindexed(path))
	case n > maxSteps:
		v.wrong(path+".step", "%d are too many; want at most %d", n, maxSteps)
	}
	for i, s := range p.Steps {
		v.step(index(path+".step", i), s)
	}
}

func (v *validator) step(path string, s Step) {
	v.zeroOrMore(path+".timeout", s.Timeout)
	sends := count(s.Send != "", len(s.SendHex) > 0)
	expects := count(s.Expect != "", s.ExpectRegexp != nil, len(s.ExpectHex) > 0)
	switch {
	case sends > 1:
		v.wrong(path, "says two things; want send or send_hex")
	case expects > 1:
		v.wrong(path, "expects several things; want one of expect, expect_regexp and expect_hex")
	case sends+expects == 0 && !v.stepReported(path):
		v.wrong(path, "does nothing; want something to send or to expect")
	}
}

// stepReported says whether a part of the step did not parse.
func (v *validator) stepReported(path string) bool {
	return slices.ContainsFunc([]string{"send_hex", "expect_hex", "expect_regexp"}, func(key string) bool {
		return v.c.source.reported(path + "." + key)
	})
}

func count(conditions ...bool) (n int) {
	for _, c := range conditions {
		if c {
			n++
		}
	}
	return n
}

// command checks that a program is named by its path: which one another PATH would
// find is nobody's surprise then.
func (v *validator) command(at string, p Probe) {
	if p.Type != HealthExec {
		return
	}
	switch c := p.Exec.Command; {
	case len(c) == 0:
		v.wrong(at, "is missing; want a program and its arguments")
	case !path.IsAbs(c[0]):
		v.wrong(at, "%q is not absolute; want a path such as \"/usr/lib/limeload/check\"", c[0])
	case slices.ContainsFunc(c, func(s string) bool { return strings.ContainsRune(s, 0) }):
		v.wrong(at, "holds a NUL byte")
	}
}

// backendHealth checks what a backend replaces, and what its pool wants of it.
func (v *validator) backendHealth(path string, p *Pool, b *Backend) {
	own := b.Health
	v.probeHost(path+".health.host", own.Host)
	v.inRange(path+".health.port", own.Port, 0, maxPort)
	if own.TLS.ServerName != "" {
		v.probeHost(path+".health.tls.server_name", own.TLS.ServerName)
	}
	h := p.HealthOf(b)
	for i, probe := range h.Probes() {
		section := "health"
		if i > 0 {
			section = alsoPath("health", i-1)
		}
		v.place(path, section, probe, b)
	}
	if own.User != "" && !usesKey("user", h.Type) && slices.Contains(HealthTypes(), h.Type) {
		v.wrong(path+".health.user", "means nothing to health type %s of the pool", h.Type)
	}
	if b.Address.Network == Unix {
		v.unixHealth(path, h)
	}
}

// place checks that it is known where a probe goes.
func (v *validator) place(path, section string, p Probe, b *Backend) {
	port := cmp.Or(p.Port, int(b.Address.Port))
	switch {
	case p.Type == HealthAgent && p.Port == 0:
		v.wrong(path+".address", "its agent cannot listen on the same port; want %s.port", section)
	case p.Host != "" && port == 0 && p.Type != HealthICMP && p.Type != HealthNone:
		v.wrong(path+".address", "a unix socket has no port to probe on %s; want %s.port", p.Host, section)
	}
}
