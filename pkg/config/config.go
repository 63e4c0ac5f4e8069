// Package config is limeload's configuration: its keys, their defaults, and
// everything that can be wrong with them.
//
// A configuration is laid down in four steps, and each is one file here:
//
//	default.go    the defaults
//	load.go       the TOML file over them      (Load, Parse)
//	overlay.go    the command line over that   (Overlay)
//	validate.go   one look at the result       (Validate)
//
// Loading ends early only where reading on makes no sense: the file cannot be
// read, is not TOML, or holds a number where a text belongs. Everything else
// (unknown keys, addresses and durations that do not parse) is kept and comes
// with what Validate finds, so that one run shows every problem:
//
//	limeload.toml:14: pool[0].backend[2].weight: 300 is out of range 0..256
//
// Values are parsed once, while loading: what others read from a Config are
// durations and addresses, never their texts. The package touches no network,
// and no disk but for the file that Load reads.
//
// A new key is a tagged field in this file, its default in default.go, its
// sentence in keys.go and, where it can be wrong, a check in validate*.go.
package config

import (
	"net/netip"
	"time"
)

// Config is one whole configuration. Take it from Default, Load or Parse:
// its zero value lacks the defaults. It is not changed after Validate, and may
// then be read by any number of goroutines.
type Config struct {
	Log       Log        `toml:"log"`
	Engine    Engine     `toml:"engine"`
	Admin     Admin      `toml:"admin"`
	Shutdown  Shutdown   `toml:"shutdown"`
	Health    Checking   `toml:"health"`
	Limits    Limits     `toml:"limits"`
	Process   Process    `toml:"process"`
	Listeners []Listener `toml:"listener"`
	Pools     []Pool     `toml:"pool"`

	// source is where the values came from and what was wrong with those that
	// could not be stored.
	source source
}

// Log says what is logged and how.
type Log struct {
	// Level is the least severe level that is written: one of LogLevels.
	Level string `toml:"level"`

	// Format is one of LogFormats; auto is console on a terminal, else json.
	Format string `toml:"format"`

	// Access writes one line per ended session, at level info.
	Access bool `toml:"access"`
}

// Values of Log.Format.
const (
	FormatAuto    = "auto"
	FormatJSON    = "json"
	FormatConsole = "console"
)

// Engine is what moves the bytes.
type Engine struct {
	// Type is one of EngineTypes.
	Type string `toml:"type"`

	// Threads is the number of loops, 0..1024; 0 is one per CPU that the
	// process may use.
	Threads int `toml:"threads"`
}

// Values of Engine.Type.
const (
	EngineAuto   = "auto"   // the best that the system offers
	EngineSplice = "splice" // the Linux reactor
	EngineCopy   = "copy"   // portable goroutines
)

// Admin is the API for operators and their tools.
type Admin struct {
	// Listen is where the API listens; its zero value is off.
	Listen AdminListen `toml:"listen"`

	// TokenFile names the file that holds the bearer token; empty asks for
	// none, which is allowed only on loopback and unix sockets.
	TokenFile string `toml:"token_file"`

	// Hosts are the names by which requests may ask for the API on an address,
	// besides IP addresses, localhost and the name that Listen has.
	Hosts []HostName `toml:"hosts"`

	// StateFile names the file in which overrides survive a restart; empty
	// forgets them with the process.
	StateFile string `toml:"state_file"`
}

// AdminListen is the address of the admin API: off (the zero value), the
// default unix socket, or an address.
type AdminListen struct {
	// Default is the unix socket that only its owner may use; the place
	// depends on the environment and is chosen by who opens it. Address is
	// then zero.
	Default bool

	// Address is used unless Default; its zero value is off.
	Address Address
}

// Shutdown is how the process ends.
type Shutdown struct {
	// Delay is how long the process says that it is not ready before its
	// listeners close: time for routers and VIP scripts to look away. 0 closes
	// them at once.
	Delay time.Duration `toml:"delay"`

	// DrainTimeout is how long sessions may go on after that, and those of a
	// removed backend after its removal; then they are cut. 0 cuts at once.
	DrainTimeout time.Duration `toml:"drain_timeout"`
}

// Checking bounds the probes of all pools together.
type Checking struct {
	// Concurrency is how many backends are probed at one time, 1..4096; 0 is what
	// the limit of file descriptors allows, 256 at most.
	Concurrency int `toml:"concurrency"`
}

// Process is what the process gives up once it listens.
type Process struct {
	// User is whom a process that was started as root becomes, by name or
	// number; empty changes nothing.
	User string `toml:"user"`

	// Group goes with User, by name or number; empty is the user's own.
	Group string `toml:"group"`

	// Landlock has the kernel refuse every file that the configuration does
	// not need.
	Landlock bool `toml:"landlock"`
}

// Listener takes clients in and hands them to a pool.
type Listener struct {
	// Name is unique among listeners; it is a metric label and a log field.
	Name string `toml:"name,required"`

	// Listen holds one address or more; port 0 is any free port.
	Listen []Address `toml:"listen,required"`

	// Pool is the name of the pool that serves the clients.
	Pool string `toml:"pool,required"`

	// MaxConnections bounds the sessions at one time, 0..10000000; at the
	// bound, new clients wait in the kernel's backlog. 0 is what the limit of
	// file descriptors allows.
	MaxConnections int `toml:"max_connections"`

	// Preset is one of Presets, or empty: what people of a protocol expect, for
	// everything else of the listener that is not written.
	Preset string `toml:"preset"`

	// UserTimeout is how long sent bytes may stay unacknowledged, or a window
	// closed, on either connection (TCP_USER_TIMEOUT); 0 is the system's limit.
	UserTimeout time.Duration `toml:"user_timeout"`

	Timeouts  Timeouts       `toml:"timeouts"`
	Keepalive Keepalive      `toml:"keepalive"`
	Access    Access         `toml:"access"`
	Limits    ListenerLimits `toml:"limits"`
}

// Timeouts end sessions of a listener. Each is 0 (never) or at least 1ms.
type Timeouts struct {
	// Idle ends a session that moved no byte in either direction for so long.
	Idle time.Duration `toml:"idle"`

	// HalfClose ends a session of which one side ended and whose other
	// direction moved no byte for so long.
	HalfClose time.Duration `toml:"half_close"`

	// Stall ends a session of which one side takes no byte for so long although
	// some wait for it. By default an hour.
	Stall time.Duration `toml:"stall"`

	// MaxLifetime ends a session that is so old, whatever it does.
	MaxLifetime time.Duration `toml:"max_lifetime"`

	// LifetimeJitter is by how many percent at most MaxLifetime is shortened, for
	// each session by another part of that, 0..100.
	LifetimeJitter int `toml:"lifetime_jitter"`
}

// Pool is a set of backends that serve the same thing.
type Pool struct {
	// Name is unique among pools; it is a metric label and part of URLs.
	Name string `toml:"name,required"`

	// Algorithm is a chain of names out of Algorithms, one at least: when the
	// backend that the first proposes is not usable, the next one picks. In a
	// file a chain of one may be written as a string.
	Algorithm []string `toml:"algorithm"`

	// HashKey is the secret of ip-hash. Instances with the same key and
	// backends send a client to the same one; empty is a fixed built-in key.
	HashKey string `toml:"hash_key,secret"`

	// HashSlots is the size of the table of ip-hash: a prime up to 16777213,
	// not smaller than the number of backends. 0 is DefaultHashSlots, or
	// LargeHashSlots above ManyBackends.
	HashSlots int `toml:"hash_slots"`

	// WhenDown is what clients meet while no backend is usable: one of
	// WhenDowns.
	WhenDown string `toml:"when_down"`

	// Source holds the local addresses to dial from; empty leaves the choice
	// to the kernel. A backend is dialled from those of its own family.
	Source []netip.Addr `toml:"source"`

	// Quorum is how many backends have to be usable for the pool to be ready,
	// 0..the number of backends; 0 is one.
	Quorum int `toml:"quorum"`

	// SlowStart is how long a backend that comes back takes to get its full weight
	// and MaxConnections; 0 is none.
	SlowStart time.Duration `toml:"slow_start"`

	// Failback is whether a backend that comes back takes over from backups: one of
	// Failbacks.
	Failback string `toml:"failback"`

	// OnSplit is what becomes of a pool of a primary in which several claim to be
	// it: one of OnSplits.
	OnSplit string `toml:"on_split"`

	Connect  Connect    `toml:"connect"`
	Health   Health     `toml:"health"`
	Breaker  Breaker    `toml:"breaker"`
	Limits   PoolLimits `toml:"limits"`
	Backends []Backend  `toml:"backend"`
}

// Values of Pool.WhenDown.
const (
	WhenDownReset    = "rst"      // accept and reset
	WhenDownUnlisten = "unlisten" // stay bound but do not listen: a SYN is refused
)

// The size of ip-hash's table where Pool.HashSlots is 0.
const (
	DefaultHashSlots = 65537
	LargeHashSlots   = 655373 // in pools with more than ManyBackends
	ManyBackends     = 650
)

// Connect is how backends are dialled.
type Connect struct {
	// Timeout bounds one attempt; at least 1ms.
	Timeout time.Duration `toml:"timeout"`

	// Attempts is how often a session dials before it gives up, 1..100; on
	// different backends while there are any.
	Attempts int `toml:"attempts"`
}

// Health is how backends are probed: what they are asked, and how often.
type Health struct {
	Probe

	// Interval is the time from one probe to the next; at least 1ms.
	Interval time.Duration `toml:"interval"`

	// Timeout bounds one probe, those under also included: at least 1ms, at most
	// Interval. Where it is not written, it is 1s or Interval, whichever is
	// shorter.
	Timeout time.Duration `toml:"timeout"`

	// Rise is how many good probes in a row bring a backend up, 1..1000.
	Rise int `toml:"rise"`

	// Fall is how many bad probes in a row take it down, 1..1000.
	Fall int `toml:"fall"`

	// FastInterval replaces Interval while a backend is unchecked or between
	// states; 0 is Interval.
	FastInterval time.Duration `toml:"fast_interval"`

	// DownInterval replaces Interval while a backend is down; 0 is Interval.
	DownInterval time.Duration `toml:"down_interval"`

	// Initial is what a backend is before its first probe: one of Initials. Up and
	// down are states like others, to be left by Fall and Rise probes; unchecked
	// ends with the first.
	Initial string `toml:"initial"`

	// OnDown is what becomes of the sessions on a backend that goes down, or loses
	// its role: one of OnDowns.
	OnDown string `toml:"on_down"`

	// Also are asked after Probe, one after the other: a backend is up when all
	// say so. They take nothing over from Probe.
	Also []Probe `toml:"also"`
}

// Backend is one server of a pool.
type Backend struct {
	// Name is unique in the pool; where none is written it is the address.
	// Name and Address together are a backend's identity over reloads.
	Name string `toml:"name"`

	// Address is where the backend listens; a host name is resolved by who
	// dials, and again from time to time.
	Address Address `toml:"address,required"`

	// Weight is its share of the traffic, 0..MaxWeight; 0 is drain.
	Weight int `toml:"weight"`

	// MaxConnections bounds the sessions at one time, 0..10000000; 0 is no
	// bound.
	MaxConnections int `toml:"max_connections"`

	// Backup backends are used only while no other is usable.
	Backup bool `toml:"backup"`

	// Health replaces what is different here in the pool's Health.
	Health BackendHealth `toml:"health"`
}

// MaxWeight is the greatest Backend.Weight.
const MaxWeight = 256

// MaxConnections is the greatest MaxConnections, of a backend and elsewhere.
const MaxConnections = 10_000_000

// Pool returns the pool of that name, or nil.
func (c *Config) Pool(name string) *Pool {
	for i := range c.Pools {
		if c.Pools[i].Name == name {
			return &c.Pools[i]
		}
	}
	return nil
}

// Algorithms returns the names that Pool.Algorithm may hold, the default first.
func Algorithms() []string {
	return []string{algorithmLeastConnections, algorithmIPHash, "round-robin", "random-two", "first"}
}

// The algorithms of which this package knows more than the name.
const (
	algorithmLeastConnections = "least-connections" // the default
	algorithmIPHash           = "ip-hash"           // the one with hash_key and hash_slots
)

// LogLevels returns the values of Log.Level, most talkative first.
func LogLevels() []string { return []string{"trace", "debug", "info", "warn", "error"} }

// LogFormats returns the values of Log.Format.
func LogFormats() []string { return []string{FormatAuto, FormatJSON, FormatConsole} }

// EngineTypes returns the values of Engine.Type.
func EngineTypes() []string { return []string{EngineAuto, EngineSplice, EngineCopy} }

// WhenDowns returns the values of Pool.WhenDown.
func WhenDowns() []string { return []string{WhenDownReset, WhenDownUnlisten} }
