package config

import (
	"reflect"
	"time"
)

// Presets of Listener.Preset.
const (
	PresetPostgres = "postgres"
	PresetMySQL    = "mysql"
	PresetRedis    = "redis"
	PresetHTTP     = "http"
)

// Presets returns the values of Listener.Preset.
func Presets() []string { return []string{PresetPostgres, PresetMySQL, PresetRedis, PresetHTTP} }

// presets are what people of a protocol expect of a listener where it is not what
// DefaultListener says. docs/configuration.md has them as a table.
var presets = map[string]func(*Listener){
	// A session may wait for its next query for hours, in a transaction or a pool, and
	// a client may page through a cursor: silence is no fault, and keepalive finds who
	// is gone. Who was sent a result and takes nothing of it pauses for minutes.
	PresetPostgres: database,
	PresetMySQL:    database,
	// Subscribers say nothing for hours and blocked readers wait. But a subscriber that
	// takes nothing makes the server queue for it: Redis itself gives it a minute
	// (client-output-buffer-limit pubsub 32mb 8mb 60).
	PresetRedis: func(l *Listener) {
		database(l)
		l.Timeouts.Stall = time.Minute
	},
	// A kept connection comes back soon or not at all: a little longer than the 60 s to
	// 75 s that servers keep one, so that they end it and not the proxy.
	PresetHTTP: func(l *Listener) {
		l.Timeouts.Idle = 2 * time.Minute
		l.Timeouts.HalfClose = 10 * time.Second
		l.Timeouts.Stall = time.Minute
	},
}

func database(l *Listener) {
	l.Timeouts.Idle = 0
	l.Timeouts.HalfClose = 30 * time.Second
	l.Timeouts.Stall = time.Hour
	l.Keepalive = Keepalive{Idle: 60 * time.Second, Interval: 10 * time.Second, Count: 6}
	l.UserTimeout = 0
}

// usePreset lays the listener's preset over everything of it that was not written,
// in the file or as a flag. It changes nothing when it comes a second time.
func (c *Config) usePreset(path string, l *Listener) {
	lay, ok := presets[l.Preset]
	if !ok {
		return // Validate tells of an unknown one
	}
	preset := DefaultListener()
	lay(&preset)
	c.fillIn(path, reflect.ValueOf(&preset).Elem(), reflect.ValueOf(l).Elem())
}

// fillIn copies the values of one table to another, unless they were written there.
func (c *Config) fillIn(path string, from, to reflect.Value) {
	for _, f := range fieldsOf(to.Type()) {
		at, value := join(path, f.key), f.of(to)
		switch {
		case f.required || f.key == "preset":
		case isTable(value.Type()):
			c.fillIn(at, f.of(from), value)
		case !c.source.written(at):
			value.Set(f.of(from))
		}
	}
}

func (v *validator) preset(path, name string) {
	if name != "" {
		v.oneOf(path, name, "preset", Presets())
	}
}
