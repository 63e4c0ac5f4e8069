package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Key describes one key of a configuration file, for the reference in docs and
// the tests that hold it to the code.
type Key struct {
	Path     string // as in pool[].backend[].weight
	Type     string // in TOML's words: string, integer, array of addresses...
	Default  string // as it would be written; empty if Required
	Required bool
	Doc      string // one sentence or two: unit, range, what 0 or "" means
}

// Keys returns every key in the order of the tables. Tables themselves are no
// keys.
func Keys() []Key {
	return keysOf("", reflect.ValueOf(Default()).Elem())
}

// keysOf returns the keys in the table at path, whose defaults v holds.
func keysOf(path string, v reflect.Value) []Key {
	var keys []Key
	for _, f := range fieldsOf(v.Type()) {
		at, value := join(path, f.key), v.Field(f.index)
		switch value.Interface().(type) {
		case []Listener:
			keys = append(keys, keysOf(at+"[]", reflect.ValueOf(DefaultListener()))...)
		case []Pool:
			keys = append(keys, keysOf(at+"[]", reflect.ValueOf(DefaultPool()))...)
		case []Backend:
			keys = append(keys, keysOf(at+"[]", reflect.ValueOf(DefaultBackend()))...)
		default:
			if isTable(value.Type()) {
				keys = append(keys, keysOf(at, value)...)
			} else {
				keys = append(keys, newKey(at, f, value))
			}
		}
	}
	return keys
}

// isTable tells a table from a value that is a struct as well, as Address is.
func isTable(t reflect.Type) bool { return t.Kind() == reflect.Struct && len(fieldsOf(t)) > 0 }

func newKey(path string, f field, v reflect.Value) Key {
	typ, def := literal(v)
	if f.required {
		def = ""
	}
	return Key{Path: path, Type: typ, Default: def, Required: f.required, Doc: docs[path]}
}

// literal is how a default is written, and the name of its type.
func literal(v reflect.Value) (typ, def string) {
	switch x := v.Interface().(type) {
	case string:
		return "string", strconv.Quote(x)
	case bool:
		return "boolean", strconv.FormatBool(x)
	case int:
		return "integer", strconv.Itoa(x)
	case time.Duration:
		return "duration", strconv.Quote(shortDuration(x))
	case Address:
		return "address", strconv.Quote(x.String())
	case AdminListen:
		return "address", strconv.Quote(x.String())
	case []string:
		return "string or array of strings", strconv.Quote(strings.Join(x, ","))
	case []Address:
		return "array of addresses", "[]"
	case []netip.Addr:
		return "array of IP addresses", "[]"
	case []netip.Prefix:
		return "array of networks", "[]"
	case Files:
		return "array of files", "[]"
	case Size:
		return "size", strconv.Quote(x.String())
	}
	panic(fmt.Sprintf("config: no TOML type for %s", v.Type()))
}

// shortDuration is 1m instead of 1m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// docs is what the reference says of each key, by Key.Path. The fields in
// config.go say the same to those who write Go.
var docs = map[string]string{
	"limits.max_connections": "Most sessions of the whole process at one time, 0..10000000; further clients wait in the kernel's backlog. 0 is what the limit of file descriptors allows.",
	"limits.memory":          `Memory that the process may use, as "512MiB"; near it, new clients are refused. "0B" is no ceiling, else at least 64MiB.`,
	"limits.source_entries":  "Most sources that are known at one time, 1024..16777216, of all listeners together: 52 bytes each, as far as there are any. Takes a restart.",

	"listener[].access.allow":       "Networks whose clients may come in. Of all that a client is in, the longest decides; one that is allowed and denied is denied.",
	"listener[].access.deny":        "Networks whose clients are refused.",
	"listener[].access.allow_files": "Files with more networks to allow, one a line; read again when they change.",
	"listener[].access.deny_files":  "Files with more networks to deny.",
	"listener[].access.default":     `allow or deny, for clients that are in no network of the lists; "" is deny where there are only allow lists, else allow.`,
	"listener[].access.dry_run":     "Only count who would be refused.",

	"listener[].limits.connections":        "Most sessions at one time, 0..10000000; further clients meet the action, and do not wait in the backlog as at max_connections. 0 is no limit.",
	"listener[].limits.rate":               "Most new sessions per second, 0..1000000; 0 is no limit.",
	"listener[].limits.burst":              "Sessions beyond rate that may come at once, 0..10000000; 0 is rate.",
	"listener[].limits.action":             "What a client meets beyond a limit: refuse (reset) or delay (accepted, and held unread until it fits).",
	"listener[].limits.connections_action": `The same for connections alone; "" is action.`,
	"listener[].limits.rate_action":        `The same for rate alone; "" is action.`,
	"listener[].limits.max_delay":          "Longest time that a client is held, at least 1ms; then it is refused.",
	"listener[].limits.max_delayed":        "Most clients held at one time, 1..10000000; further ones are refused.",
	"listener[].limits.dry_run":            "Only count who would be refused or held by this table's limits.",

	"listener[].limits.source.connections":        "Most sessions of one source at one time, 0..10000000; 0 is no limit.",
	"listener[].limits.source.rate":               "Most new sessions per second of one source, 0..1000000; 0 is no limit.",
	"listener[].limits.source.burst":              "Sessions of one source beyond rate that may come at once, 0..10000000; 0 is rate.",
	"listener[].limits.source.action":             "As listener[].limits.action, for the limits of sources.",
	"listener[].limits.source.connections_action": `The same for connections alone; "" is action.`,
	"listener[].limits.source.rate_action":        `The same for rate alone; "" is action.`,
	"listener[].limits.source.prefix_v4":          "Leading bits of an IPv4 address that make a source, 1..32.",
	"listener[].limits.source.prefix_v6":          "Leading bits of an IPv6 address that make a source, 1..128.",
	"listener[].limits.source.dry_run":            "Only count who would be refused or held by this table's limits.",

	"pool[].limits.rate":        "Most new connections per second to each backend, 0..1000000; one above it is passed over. 0 is no limit.",
	"pool[].limits.burst":       "Connections to a backend beyond rate that may be made at once, 0..10000000; 0 is rate.",
	"pool[].limits.action":      "What a client meets while every backend that it could have is above its rate: delay (held until one is below) or refuse.",
	"pool[].limits.max_delay":   "Longest time that a client is held, at least 1ms; then it is refused.",
	"pool[].limits.max_delayed": "Most clients held at one time, 1..10000000; further ones are refused.",
	"pool[].limits.dry_run":     "Only count what would be passed over, held or refused.",

	"log.level":  "The least severe level that is written: trace, debug, info, warn or error.",
	"log.format": "auto (console on a terminal, else json), json or console.",
	"log.access": "Write one line per ended session, at level info.",

	"engine.type":    "auto (the best that the system offers), splice (the Linux reactor) or copy (portable).",
	"engine.threads": "Number of loops, 0..1024; 0 is one per CPU that the process may use.",

	"admin.listen":     `Where the admin API listens: host:port, unix:/path, "" for nowhere, or "default": a unix socket that only its owner may use.`,
	"admin.token_file": "File with the bearer token; required where listen is neither loopback nor a unix socket.",

	"shutdown.delay":         "Time between saying that the process is not ready and closing its listeners; 0s closes at once.",
	"shutdown.drain_timeout": "Time that sessions have to end at shutdown, or after their backend was removed; then they are cut. 0s cuts at once.",

	"listener[].name":                  "Name in logs and metrics, unique among listeners.",
	"listener[].listen":                "Addresses to listen on: host:port, [v6]:port or unix:/path. :port is every address, IPv4 and IPv6.",
	"listener[].pool":                  "Name of the pool that serves the clients.",
	"listener[].max_connections":       "Most sessions at one time, 0..10000000; further clients wait in the kernel's backlog. 0 is what the limit of file descriptors allows.",
	"listener[].timeouts.idle":         "Ends a session without a byte in either direction for this long; 0s is never.",
	"listener[].timeouts.half_close":   "Ends a session of which one side ended, without a byte in the other direction for this long; 0s is never.",
	"listener[].timeouts.max_lifetime": "Ends a session this old, whatever it does; 0s is never.",

	"pool[].name":             "Name in logs, metrics and the API, unique among pools.",
	"pool[].algorithm":        "least-connections, ip-hash, round-robin, random-two or first; or a chain of them, in which the next one picks when the backend that the first proposes is not usable.",
	"pool[].hash_key":         `Secret of ip-hash, the same in all instances that should agree; "" is a fixed built-in key.`,
	"pool[].hash_slots":       "Size of the table of ip-hash: a prime up to 16777213, at least the number of backends; 0 is 65537, or 655373 above 650 backends.",
	"pool[].when_down":        "While no backend is usable: rst (accept and reset) or unlisten (stay bound, but refuse connections).",
	"pool[].source":           "Local addresses to dial from; a backend is dialled from those of its family. Empty leaves the choice to the kernel.",
	"pool[].connect.timeout":  "Bounds one attempt to connect; at least 1ms.",
	"pool[].connect.attempts": "Attempts to connect per session, 1..100, on different backends while there are any.",

	"pool[].health.type":          "none, tcp (a handshake) or icmp (an echo).",
	"pool[].health.interval":      "Time from one probe to the next; at least 1ms.",
	"pool[].health.timeout":       "Bounds one probe; at least 1ms, at most interval. Where it is not written and interval is shorter than 1s, it is interval.",
	"pool[].health.rise":          "Good probes in a row that bring a backend up, 1..1000.",
	"pool[].health.fall":          "Bad probes in a row that take a backend down, 1..1000.",
	"pool[].health.fast_interval": "Replaces interval while a backend is unchecked or between states; 0s is interval.",
	"pool[].health.down_interval": "Replaces interval while a backend is down; 0s is interval.",
	"pool[].health.port":          "Port to probe instead of the backend's, 0..65535; 0 is the backend's own.",

	"pool[].backend[].name":            `Name in logs, metrics and the API, unique in the pool; "" is the address.`,
	"pool[].backend[].address":         "host:port, [v6]:port or unix:/path. Host names are resolved again from time to time.",
	"pool[].backend[].weight":          "Share of the traffic, 0..256; 0 is drain: no new sessions.",
	"pool[].backend[].max_connections": "Most sessions at one time, 0..10000000; 0 is no bound.",
	"pool[].backend[].backup":          "Use this backend only while no other is usable.",
}
