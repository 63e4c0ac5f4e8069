package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"regexp"
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
		at, value := join(path, f.key), f.of(v)
		switch value.Interface().(type) {
		case []Listener:
			keys = append(keys, keysOf(at+"[]", reflect.ValueOf(DefaultListener()))...)
		case []Pool:
			keys = append(keys, keysOf(at+"[]", reflect.ValueOf(DefaultPool()))...)
		case []Backend:
			keys = append(keys, keysOf(at+"[]", reflect.ValueOf(DefaultBackend()))...)
		case []Step:
			keys = append(keys, keysOf(at+"[]", reflect.ValueOf(Step{}))...)
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
	case Rate:
		return "bandwidth", strconv.Quote(x.String())
	case Address:
		return "address", strconv.Quote(x.String())
	case AdminListen:
		return "address", strconv.Quote(x.String())
	case []string:
		if len(x) == 0 {
			return "string or array of strings", "[]"
		}
		return "string or array of strings", strconv.Quote(strings.Join(x, ","))
	case Reference:
		return "secret", strconv.Quote(x.String())
	case MaxLag:
		return "size or duration", strconv.Quote(x.String())
	case Hex:
		return "hexadecimal string", strconv.Quote(x.String())
	case *regexp.Regexp:
		return "regular expression", strconv.Quote(regexpText(x))
	case []StatusRange:
		return "array of strings", fmt.Sprintf("%q", x)
	case map[string]string:
		return "table of strings", "{}"
	case []Probe:
		return "array of tables", "[]"
	case []Address:
		return "array of addresses", "[]"
	case []HostName:
		return "array of host names", "[]"
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

func regexpText(re *regexp.Regexp) string {
	if re == nil {
		return ""
	}
	return re.String()
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
	"admin.hosts":      "Names by which the API on an address may be asked for, besides IP addresses, localhost and the name in listen; no other is answered.",
	"admin.state_file": `File that keeps modes, weights and backends which were changed through the admin API over a restart, one for each process; "" forgets them with the process.`,

	"shutdown.delay":     "Time between saying that the process is not ready and closing its listeners; 0s closes at once.",
	"health.concurrency": "Backends probed at one time, 1..4096; 0 is what the limit of file descriptors allows, at most 256.",

	"shutdown.drain_timeout": "Time that sessions have to end at shutdown, or after their backend was removed; then they are cut. 0s cuts at once.",

	"process.user":     `User, by name or number, that a process which was started as root becomes once it listens; "" changes nothing.`,
	"process.group":    `Group that goes with user; "" is the user's own.`,
	"process.landlock": "Have the kernel refuse every file but those that the configuration needs (Landlock), where it can.",

	"listener[].name":                  "Name in logs and metrics, unique among listeners.",
	"listener[].listen":                "Addresses to listen on: host:port, [v6]:port or unix:/path. :port is every address, IPv4 and IPv6.",
	"listener[].pool":                  "Name of the pool that serves the clients.",
	"listener[].max_connections":       "Most sessions at one time, 0..10000000; further clients wait in the kernel's backlog. 0 is what the limit of file descriptors allows.",
	"listener[].timeouts.idle":         "Ends a session without a byte in either direction for this long; 0s is never.",
	"listener[].timeouts.half_close":   "Ends a session of which one side ended, without a byte in the other direction, or taken of what is left, for this long; 0s is never.",
	"listener[].timeouts.max_lifetime": "Ends a session this old, whatever it does; 0s is never.",

	"listener[].preset":                   `What people of a protocol expect, for all keys of the listener that are not written: postgres, mysql, redis or http; "" is none. See the table below.`,
	"listener[].user_timeout":             "Ends a session on either connection of which sent bytes stay unacknowledged, or the window closed, for this long (TCP_USER_TIMEOUT, Linux); it also ends a live peer that does not read. 0s is the system's limit.",
	"listener[].timeouts.stall":           "Ends a session of which one side takes no byte, although some wait for it, for this long; 0s is never. A dead peer is found without it.",
	"listener[].timeouts.lifetime_jitter": "Shortens max_lifetime by up to so many percent, 0..100, another part for each session, so that pools do not reconnect in one wave.",

	"listener[].keepalive.idle":     "Silence before the kernel probes whether the peer is there, on both connections: whole seconds, 1s..9h.",
	"listener[].keepalive.interval": "Time between two such probes: whole seconds, 1s..9h.",
	"listener[].keepalive.count":    "Probes without an answer that end the session, 1..127.",

	"listener[].limits.bandwidth_up":              `Most bytes per second from clients to backends, of all sessions together: "10MB/s", "512KiB/s", "100Mbit/s"; "0" is no bound, else 1kB/s..1000GB/s.`,
	"listener[].limits.bandwidth_down":            "The same from backends to clients.",
	"listener[].limits.connection_bandwidth_up":   "Most bytes per second from one client to its backend.",
	"listener[].limits.connection_bandwidth_down": "The same from the backend to the client.",

	"pool[].name":             "Name in logs, metrics and the API, unique among pools.",
	"pool[].algorithm":        "least-connections, ip-hash, round-robin, random-two or first; or a chain of them, in which the next one picks when the backend that the first proposes is not usable.",
	"pool[].hash_key":         `Secret of ip-hash, the same in all instances that should agree; "" is a fixed built-in key.`,
	"pool[].hash_slots":       "Size of the table of ip-hash: a prime up to 16777213, at least the number of backends; 0 is 65537, or 655373 above 650 backends.",
	"pool[].when_down":        "While no backend is usable: rst (accept and reset) or unlisten (stay bound, but refuse connections).",
	"pool[].source":           "Local addresses to dial from; a backend is dialled from those of its family. Empty leaves the choice to the kernel.",
	"pool[].quorum":           "Usable backends below which the pool is not ready (/readyz), 0..the number of backends; 0 is 1.",
	"pool[].slow_start":       "Time in which a backend that comes back gets from 1 % to all of its weight and max_connections; 0s is at once. ip-hash looks at max_connections alone.",
	"pool[].failback":         "A backend that comes back takes over from backups by itself (auto), or waits for a person's ready (manual).",
	"pool[].on_split":         "Several backends claim to be the primary: use the one with the highest timeline, or none with a tie (fence), or none (refuse).",
	"pool[].connect.timeout":  "Bounds one attempt to connect; at least 1ms.",
	"pool[].connect.attempts": "Attempts to connect per session, 1..100, on different backends while there are any.",

	"pool[].health.type":                 "none, tcp (a handshake), icmp (an echo), tls, http, https, send-expect, exec, postgres, mysql, redis or agent; see [Health](health.md).",
	"pool[].health.host":                 `IP address or host name to probe instead of the backend's; "" is the backend's own.`,
	"pool[].health.user":                 `User to log in as (postgres, mysql, redis), or of basic authentication (http, https); "" logs in nowhere.`,
	"pool[].health.password":             `Where the password is read, at every probe: "file:/path" or "env:NAME"; "" is none.`,
	"pool[].health.database":             `Database to log in to (postgres, mysql); "" is the server's default for the user.`,
	"pool[].health.query":                `Query that has to succeed after the login (postgres, mysql); "" runs none.`,
	"pool[].health.role":                 "What the server has to be (postgres, mysql, redis): any, primary or replica.",
	"pool[].health.max_lag":              `How far a replica may be behind: bytes such as "16MB", or a time such as "10s"; "" is no limit.`,
	"pool[].health.lag_policy":           "A replica beyond max_lag gets less of its weight (degrade) or is down (down).",
	"pool[].health.tls.enabled":          "Use TLS (send-expect, postgres, mysql, redis); always true for tls and https.",
	"pool[].health.tls.required":         "A server without TLS is down; false asks it without, if it refuses (postgres, mysql).",
	"pool[].health.tls.verify":           "Verify the server's certificate and its name.",
	"pool[].health.tls.ca_file":          `File with the authorities to trust, in PEM; "" is the system's. It is read at the start and at a reload.`,
	"pool[].health.tls.server_name":      `Name to ask for (SNI) and to verify; "" is the host that is probed.`,
	"pool[].health.tls.alpn":             "Protocols to offer, of which the server has to choose one (tls, https); [] offers none.",
	"pool[].health.tls.warn":             "Time before its certificate expires from which on a server is warned about; 0s is never.",
	"pool[].health.http.method":          "Method of the request.",
	"pool[].health.http.path":            "Path of the request, with its query.",
	"pool[].health.http.host":            `Host header; "" is the host that is probed, with its port.`,
	"pool[].health.http.headers":         `Further headers; a value "file:/path" or "env:NAME" is read there, at every probe.`,
	"pool[].health.http.status":          `Good codes: "204", "200-399" or "2xx". Redirects are not followed.`,
	"pool[].health.http.body":            `Text that has to be in the first 64 KiB of the body; "" is any.`,
	"pool[].health.http.body_regexp":     `Regular expression that has to match in the first 64 KiB of the body; "" is any.`,
	"pool[].health.step[].send":          "Text to send; %{user} and %{password} stand for those of the probe.",
	"pool[].health.step[].send_hex":      `Bytes to send instead, such as "00 01 ff".`,
	"pool[].health.step[].expect":        "Text that has to come then, whatever comes before it.",
	"pool[].health.step[].expect_regexp": "Regular expression that has to match instead.",
	"pool[].health.step[].expect_hex":    "Bytes that have to come instead.",
	"pool[].health.step[].timeout":       "Bounds the step; 0s is what is left of the probe's timeout.",
	"pool[].health.exec.command":         "Program, by its path, and its arguments, to which the address and the port are added. No shell reads it.",
	"pool[].health.agent.send":           "Text to send before the agent answers, its line end included.",
	"pool[].health.also":                 "Further probes, each with these keys but those of the schedule (interval, timeout, rise, fall ...), under [[pool.health.also]]; all must pass.",

	"pool[].backend[].health.host":            "Replaces the pool's health.host for this backend.",
	"pool[].backend[].health.port":            "Replaces the pool's health.port for this backend.",
	"pool[].backend[].health.user":            "Replaces the pool's health.user for this backend.",
	"pool[].backend[].health.password":        "Replaces the pool's health.password for this backend.",
	"pool[].backend[].health.tls.server_name": "Replaces the pool's health.tls.server_name for this backend.",

	"pool[].health.initial":       "What a backend is before its first probe: unchecked (used after those that are up; the first probe decides), up or down.",
	"pool[].health.on_down":       "Sessions of a backend that goes down, or loses its role, go on (keep) or are cut (kill).",
	"pool[].health.interval":      "Time from one probe to the next; at least 1ms.",
	"pool[].health.timeout":       "Bounds one probe; at least 1ms, at most interval. Where it is not written and interval is shorter than 1s, it is interval.",
	"pool[].health.rise":          "Good probes in a row that bring a backend up, 1..1000.",
	"pool[].health.fall":          "Bad probes in a row that take a backend down, 1..1000.",
	"pool[].health.fast_interval": "Replaces interval while a backend is unchecked or between states; 0s is interval.",
	"pool[].health.down_interval": "Replaces interval while a backend is down; 0s is interval.",
	"pool[].health.port":          "Port to probe instead of the backend's, 0..65535; 0 is the backend's own.",

	"pool[].breaker.enabled":             "Take a backend whose traffic fails out for a time.",
	"pool[].breaker.failures":            "Connects in a row that fail, or are slow, and open the breaker, 0..10000; 0 is never.",
	"pool[].breaker.resets":              "Sessions in a row that the backend resets within their first second and that open the breaker, 0..10000; 0 is never.",
	"pool[].breaker.slow_connect":        "A connect is slow if it takes this many times as long as the pool's median, and 500ms at least, 2..1000; 0 is never.",
	"pool[].breaker.ejection":            "How long the breaker stays open the first time; at least 1ms. It doubles with every time.",
	"pool[].breaker.max_ejection":        "How long it stays open at most.",
	"pool[].breaker.max_ejected_percent": "Share of the backends that could serve of which no more are out by their breakers at one time, 0..100.",
	"pool[].breaker.trust_probe":         "A good probe closes the breaker early.",

	"pool[].backend[].name":            `Name in logs, metrics and the API, unique in the pool; "" is the address.`,
	"pool[].backend[].address":         "host:port, [v6]:port or unix:/path. Host names are resolved again from time to time.",
	"pool[].backend[].weight":          "Share of the traffic, 0..256; 0 is drain: no new sessions.",
	"pool[].backend[].max_connections": "Most sessions at one time, 0..10000000; 0 is no bound.",
	"pool[].backend[].backup":          "Use this backend only while no other is usable.",
}
