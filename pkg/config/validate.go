package config

import (
	"fmt"
	"slices"
	"time"
)

// Ranges of numbers; 0 is allowed where it means something.
const (
	maxThreads     = 1024
	maxConnections = MaxConnections
	maxAttempts    = 100
	maxThreshold   = 1000 // rise and fall
	maxHashSlots   = 16_777_213
	maxPort        = 65535
)

// leastDuration is the resolution of timers: less is a slip of the unit.
const leastDuration = time.Millisecond

// Validate looks at the whole configuration without asking network or disk.
// Its error, of type Problems, holds everything that is wrong: what was
// already so while loading, and what only shows in the whole. A Config that
// passes can be applied, unless the system has a say.
func (c *Config) Validate() error {
	v := validator{c: c}
	for _, p := range c.source.problems {
		v.problems = append(v.problems, p.Problem)
	}
	v.log()
	v.engine()
	v.admin()
	v.shutdown()
	v.inRange("health.concurrency", v.c.Health.Concurrency, 0, maxProbes)
	v.limits()
	v.process()
	v.listeners()
	v.pools()
	v.between()
	v.problems.sort()
	return v.problems.err()
}

// validator collects what is wrong. Its methods check one thing each; none
// depends on another having passed.
type validator struct {
	c        *Config
	problems Problems
}

// wrong adds a problem. It is silent about values that did not parse: those
// are known, and what stands in for them is not what was written.
func (v *validator) wrong(path, format string, args ...any) {
	if !v.c.source.reported(path) {
		v.problems = append(v.problems, v.c.source.problem(path, fmt.Sprintf(format, args...)))
	}
}

func (v *validator) log() {
	v.oneOf("log.level", v.c.Log.Level, "log level", LogLevels())
	v.oneOf("log.format", v.c.Log.Format, "log format", LogFormats())
}

func (v *validator) engine() {
	v.oneOf("engine.type", v.c.Engine.Type, "engine", EngineTypes())
	v.inRange("engine.threads", v.c.Engine.Threads, 0, maxThreads)
}

func (v *validator) admin() {
	l := v.c.Admin.Listen
	if l.Default || l.Address.IsZero() || l.Address.IsLocal() || v.c.Admin.TokenFile != "" {
		return
	}
	v.wrong("admin.listen", "%s can be reached from other machines; that needs admin.token_file", l.Address)
}

func (v *validator) shutdown() {
	v.zeroOrMore("shutdown.delay", v.c.Shutdown.Delay)
	v.zeroOrMore("shutdown.drain_timeout", v.c.Shutdown.DrainTimeout)
}

func (v *validator) process() {
	if p := v.c.Process; p.Group != "" && p.User == "" {
		v.wrong("process.group", "goes with process.user, which is missing")
	}
}

// oneOf checks a word against all that it may be.
func (v *validator) oneOf(path, word, what string, all []string) {
	if !slices.Contains(all, word) {
		v.wrong(path, "unknown %s %q%s", what, word, didYouMean(word, all))
	}
}

func (v *validator) inRange(path string, n, least, most int) {
	if n < least || n > most {
		v.wrong(path, "%d is out of range %d..%d", n, least, most)
	}
}

// zeroOrMore checks a duration for which 0 means something.
func (v *validator) zeroOrMore(path string, d time.Duration) {
	switch {
	case d < 0:
		v.wrong(path, "%s is negative; want 0s or more", d)
	case d > 0 && d < leastDuration:
		v.wrong(path, "%s is too short; want 0s, or %s or more", d, leastDuration)
	}
}

// positive checks a duration that cannot be 0.
func (v *validator) positive(path string, d time.Duration) {
	switch {
	case d < 0:
		v.wrong(path, "%s is negative; want %s or more", d, leastDuration)
	case d < leastDuration:
		v.wrong(path, "%s is too short; want %s or more", d, leastDuration)
	}
}

// maxName is the longest name, in bytes.
const maxName = 128

// name checks a name that ends up in metric labels, log fields and URLs.
func (v *validator) name(path, name string) {
	switch {
	case name == "":
		v.wrong(path, "is missing; want a name")
	case !isName(name):
		v.wrong(path, "%q is not a name; want at most %d letters, digits, '.', '_' and '-', the first a letter or digit", name, maxName)
	}
}

func isName(s string) bool {
	if s == "" || len(s) > maxName || !isAlnum(rune(s[0])) {
		return false
	}
	for _, r := range s {
		if !isAlnum(r) && r != '.' && r != '_' && r != '-' {
			return false
		}
	}
	return true
}

// unique checks that no two of a list have the same name; path(i) is the path
// of an element. Empty names are another problem.
func (v *validator) unique(names []string, path func(int) string) {
	first := map[string]int{}
	for i, name := range names {
		j, ok := first[name]
		switch {
		case name == "":
		case ok:
			v.wrong(path(i)+".name", "%q is also the name of %s", name, v.where(path(j)))
		default:
			first[name] = i
		}
	}
}

// where names another place in a message: its path and line, or its flag.
func (v *validator) where(path string) string {
	p := v.c.source.problem(path, "")
	switch {
	case p.Path != path:
		return p.Path
	case p.Line > 0:
		return fmt.Sprintf("%s (line %d)", path, p.Line)
	}
	return path
}

// namesOf collects what unique compares.
func namesOf[T any](list []T, name func(T) string) []string {
	names := make([]string, len(list))
	for i, e := range list {
		names[i] = name(e)
	}
	return names
}
