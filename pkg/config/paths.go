package config

import (
	"path/filepath"
	"slices"
	"strings"
)

// Paths are the files and directories that a configuration names, as they are written.
type Paths struct {
	Read   []string // files that are read, now or later
	Run    []string // programs
	Change []string // directories in which files and sockets are made and removed
}

// Paths collects them from all keys: those that end in _file or _files, programs to run
// (command), values such as "file:/path", and the sockets that are listened on.
func (c *Config) Paths() Paths {
	var p Paths
	p.collect("", c.Tables())
	if c.Admin.Listen.Address.Network == Unix {
		p.Change = append(p.Change, filepath.Dir(c.Admin.Listen.Address.Path))
	}
	for _, l := range c.Listeners {
		for _, a := range l.Listen {
			if a.Network == Unix {
				p.Change = append(p.Change, filepath.Dir(a.Path))
			}
		}
	}
	for _, all := range []*[]string{&p.Read, &p.Run, &p.Change} {
		slices.Sort(*all)
		*all = slices.Compact(*all)
	}
	return p
}

// collect takes the paths out of the value of a key, and of what is in it.
func (p *Paths) collect(key string, value any) {
	switch v := value.(type) {
	case map[string]any:
		for key, value := range v {
			p.collect(key, value)
		}
	case map[string]string:
		for key, value := range v {
			p.add(key, value)
		}
	case []any:
		for i, value := range v {
			if key != "command" || i == 0 { // then come arguments
				p.collect(key, value)
			}
		}
	case string:
		p.add(key, v)
	}
}

func (p *Paths) add(key, value string) {
	path, isRef := strings.CutPrefix(value, "file:")
	switch {
	case value == "":
	case key == "state_file":
		p.Change = append(p.Change, filepath.Dir(value))
	case key == "command":
		p.Run = append(p.Run, value)
	case isRef:
		p.Read = append(p.Read, path)
	case strings.HasSuffix(key, "_file") || strings.HasSuffix(key, "_files"):
		p.Read = append(p.Read, value)
	}
}

// Probes reports whether a probe, be it one of several, is of that type.
func (c *Config) Probes(kind string) bool { return holds(c.Tables()["pool"], "type", kind) }

// holds reports whether a table in value has text under key.
func holds(value any, key, text string) bool {
	switch v := value.(type) {
	case []any:
		return slices.ContainsFunc(v, func(v any) bool { return holds(v, key, text) })
	case map[string]any:
		for k, v := range v {
			if k == key && v == text || holds(v, key, text) {
				return true
			}
		}
	}
	return false
}
