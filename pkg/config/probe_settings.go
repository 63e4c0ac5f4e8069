package config

import (
	"errors"
	"reflect"
	"strings"
)

// Setting is a key of a probe that was given as a flag, or could have been.
type Setting struct {
	Flag  string // as it was typed, its value included, or its name alone
	Key   string // below the health section, as in tls.ca_file
	Value any    // as a TOML file would hold it; nil for a flag that was not given
}

// ParseProbe makes a probe of settings, over its defaults, and validates it. The error, of
// type Problems, names flags in the place of keys.
func ParseProbe(settings []Setting) (Probe, error) {
	const section = "health"
	c, p, doc := Default(), DefaultProbe(), map[string]any{}
	for _, s := range settings {
		if s.Value == nil {
			continue
		}
		path := section
		for key := range strings.SplitSeq(s.Key, ".") {
			path = join(path, key)
			c.source.override(path, s.Flag)
		}
		put(doc, strings.Split(s.Key, "."), s.Value)
	}
	d := decoder{src: &c.source}
	d.table(section, doc, reflect.ValueOf(&p).Elem())
	if d.mismatch != nil {
		return Probe{}, errors.New(d.mismatch.Text)
	}
	c.settleProbe(section, &p)
	v := validator{c: c}
	for _, known := range c.source.problems {
		v.problems = append(v.problems, known.Problem)
	}
	v.probe(section, p)
	for i := range v.problems {
		nameFlag(&v.problems[i], section, settings)
	}
	return p, v.problems.err()
}

// put writes a value into a table, and makes the tables on the way to it.
func put(doc map[string]any, keys []string, value any) {
	for ; len(keys) > 1; keys = keys[1:] {
		inner, ok := doc[keys[0]].(map[string]any)
		if !ok {
			inner = map[string]any{}
			doc[keys[0]] = inner
		}
		doc = inner
	}
	doc[keys[0]] = value
}

// nameFlag puts the flag in the place of the path of a key that was not given.
func nameFlag(p *Problem, section string, settings []Setting) {
	for _, s := range settings {
		if p.Path == section+"."+s.Key {
			p.Path = s.Flag
			return
		}
	}
}
