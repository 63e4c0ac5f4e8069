package healthcheck

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/limeload/limeload/pkg/testserver"
)

// superuser is a probe that may see everything.
func superuser(role string) *Postgres { return &Postgres{DB: DB{User: "postgres", Role: role}} }

func TestPostgresRoles(t *testing.T) {
	primary := testserver.StartPostgres(t)
	replica := primary.StartReplica(t)

	check := func(name, address, is string, timeline uint32) {
		t.Helper()
		other := map[string]string{"primary": "replica", "replica": "primary"}[is]
		for role, want := range map[string]verdict{
			"": good, "any": good, is: good,
			other: {Down, ReasonRole, fmt.Sprintf("is a %s (want %s)", is, other)},
		} {
			r := ask(t, superuser(role), address)
			want.check(t, r)
			if r.Facts.Role.String() != is || r.Facts.Timeline != timeline {
				t.Errorf("%s, role %q: got a %v on timeline %d; want a %s on %d", name, role, r.Facts.Role, r.Facts.Timeline, is, timeline)
			}
			if got := phasesOf(r); got != "connect auth query" {
				t.Errorf("phases: got %s", got)
			}
			if !strings.HasPrefix(r.Facts.Version, strings.Fields(primary.SQL("show server_version"))[0]) {
				t.Errorf("version: got %q", r.Facts.Version)
			}
		}
	}
	check("the primary", primary.Address(), "primary", 1)
	check("the replica", replica.Address(), "replica", 1)

	replica.Promote() // the checkpoint that follows may not have happened when the probe asks
	check("the promoted replica", replica.Address(), "primary", 2)
	check("the old primary, which nobody told", primary.Address(), "primary", 1)

	primary.Demote(replica)
	check("the old primary, demoted", primary.Address(), "replica", 2)

	replica.Kill()
	verdict{Down, ReasonRefused, "refused"}.check(t, ask(t, superuser(""), replica.Address()))
}

// Right after a promotion the control file may still have the old timeline.
func TestPostgresTimelineBeforeTheFirstCheckpoint(t *testing.T) {
	replica := testserver.StartPostgres(t).StartReplica(t)
	replica.Promote()
	timeline := ask(t, superuser("primary"), replica.Address()).Facts.Timeline
	stale := replica.SQL("select timeline_id from pg_control_checkpoint()")
	if timeline != 2 {
		t.Errorf("timeline: got %d; want 2 (the last checkpoint's is %s)", timeline, stale)
	}
	t.Logf("the timeline of the last checkpoint was %s then", stale)
}

func TestPostgresSplit(t *testing.T) {
	origin := testserver.StartPostgres(t)
	a, b := origin.StartReplica(t), origin.StartReplica(t)
	a.Promote()
	b.Promote()
	for name, s := range map[string]*testserver.Postgres{"a": a, "b": b} {
		if f := ask(t, superuser("primary"), s.Address()).Facts; f.Role != RolePrimary || f.Timeline != 2 {
			t.Errorf("both promoted from one: %s: got a %v on timeline %d; want a primary on 2", name, f.Role, f.Timeline)
		}
	}
	b.Demote(a)
	b.Promote()
	if f := ask(t, superuser("primary"), b.Address()).Facts; f.Role != RolePrimary || f.Timeline != 3 {
		t.Errorf("promoted once more: got a %v on timeline %d; want a primary on 3", f.Role, f.Timeline)
	}
}

func TestPostgresLag(t *testing.T) {
	primary := testserver.StartPostgres(t)
	primary.SQL("create role probe login", "create role monitor login in role pg_monitor", "create table filled (t text)")
	replica := primary.StartReplica(t)
	probe := func(user string, limit Lag, down bool) *Postgres {
		return &Postgres{DB: DB{User: user, Role: "replica", MaxLag: limit, LagDown: down}}
	}
	bytes, age := Lag{Bytes: 64 << 10}, Lag{Bytes: -1, Time: 50 * time.Millisecond}
	isUp := func(r Result) bool { return r.Verdict == Up }
	for _, user := range []string{"probe", "monitor", "postgres"} {
		for _, limit := range []Lag{bytes, age} {
			// An idle primary: the last transaction is older than any limit.
			r := await(t, probe(user, limit, false), replica.Address(), "a replica that keeps up", isUp)
			if want := (Lag{}); r.Facts.Lag != want || !r.Facts.HasLag {
				t.Errorf("%s: lag: got %+v, %v; want 0", user, r.Facts.Lag, r.Facts.HasLag)
			}
		}
	}

	primary.SQL("insert into filled values ('replayed before the pause')")
	for replica.SQL("select count(*) from filled") != "1" {
		time.Sleep(10 * time.Millisecond)
	}
	replica.SQL("select pg_wal_replay_pause()")
	primary.SQL("insert into filled select repeat('x', 100) from generate_series(1, 10000)")
	for _, user := range []string{"probe", "monitor"} {
		for _, limit := range []Lag{bytes, age} {
			r := await(t, probe(user, limit, false), replica.Address(), "a replica that lags", func(r Result) bool { return r.Verdict == Degraded })
			verdict{Degraded, ReasonLag, "exceeds"}.check(t, r)
			if r.Facts.Share < 1 || r.Facts.Share > 99 || r.Facts.Lag.Bytes < bytes.Bytes || r.Facts.Lag.Time < age.Time {
				t.Errorf("%s: got share %d, lag %+v; want less than all, more than the limits", user, r.Facts.Share, r.Facts.Lag)
			}
			verdict{Down, ReasonLag, "exceeds"}.check(t, ask(t, probe(user, limit, true), replica.Address()))
		}
	}
	good.check(t, ask(t, superuser("replica"), replica.Address()))

	replica.SQL("select pg_wal_replay_resume()")
	for _, limit := range []Lag{bytes, age} {
		await(t, probe("probe", limit, true), replica.Address(), "a replica that caught up", isUp)
	}

	primary.Kill()
	r := await(t, probe("probe", bytes, true), replica.Address(), "a replica without its primary", func(r Result) bool { return r.Verdict == Down })
	verdict{Down, ReasonLag, "lag unknown exceeds 65536 bytes"}.check(t, r)
	good.check(t, ask(t, superuser("replica"), replica.Address()))
}

func TestPostgresAuthentication(t *testing.T) {
	server := testserver.StartPostgres(t)
	server.SQL("set password_encryption = 'md5'; create role old login password 'right'", "reset password_encryption",
		"create role new login password 'right'", "create role trusted login")
	server.Authenticate("host all old 127.0.0.1/32 md5", "host all new 127.0.0.1/32 scram-sha-256", "host all trusted 127.0.0.1/32 trust")
	as := func(user string, password Secret) *Postgres { return &Postgres{DB: DB{User: user, Password: password}} }
	for _, c := range []struct {
		name  string
		probe *Postgres
		want  verdict
	}{
		{"trust", as("trusted", nil), good},
		{"md5", as("old", secret("right")), good},
		{"md5, wrong password", as("old", secret("wrong")), verdict{Down, ReasonAuth, `password authentication failed for user "old"`}},
		{"scram", as("new", secret("right")), good},
		{"scram, wrong password", as("new", secret("wrong")), verdict{Down, ReasonAuth, `password authentication failed for user "new"`}},
		{"scram, no password", as("new", nil), verdict{Down, ReasonAuth, `password authentication failed`}},
		{"no entry in pg_hba.conf", as("postgres", nil), verdict{Down, ReasonAuth, "no pg_hba.conf entry"}},
		{"no such database", &Postgres{DB: DB{User: "trusted"}, Database: "none"}, verdict{Down, ReasonAnswer, `database "none" does not exist`}},
		{"a query", &Postgres{DB: DB{User: "trusted"}, Query: "select 1; select 2"}, good},
		{"a query that fails", &Postgres{DB: DB{User: "trusted"}, Query: "select 1/0"}, verdict{Down, ReasonAnswer, "division by zero"}},
		{"a query that answers too much", &Postgres{DB: DB{User: "trusted"}, Query: "select repeat('x', 1000) from generate_series(1, 1000)"}, verdict{Down, ReasonProtocol, "longer than 65536 bytes"}},
		{"a role and no user", &Postgres{DB: DB{Role: "primary"}}, verdict{Unknown, ReasonLocal, "no user"}},
		{"a secret that cannot be read", as("new", func() (string, error) { return "", os.ErrNotExist }), verdict{Unknown, ReasonLocal, "read password"}},
	} {
		t.Run(c.name, func(t *testing.T) { c.want.check(t, ask(t, c.probe, server.Address())) })
	}
}

func TestPostgresTLS(t *testing.T) {
	server := testserver.StartPostgres(t)
	own, foreign := testserver.NewCertificate(t), testserver.NewCertificate(t)
	server.SQL("create role probe login password 'right'")
	server.Authenticate("host all all 127.0.0.1/32 scram-sha-256")
	probe := func(d DB) *Postgres {
		d.User, d.Password = "probe", secret("right")
		return &Postgres{DB: d}
	}
	good.check(t, ask(t, probe(DB{TLS: trust(own, "")}), server.Address()))
	verdict{Down, ReasonTLS, "server has no TLS"}.check(t, ask(t, probe(DB{TLS: trust(own, ""), TLSRequired: true}), server.Address()))

	server.UseTLS(own)
	server.Authenticate("hostssl all all 127.0.0.1/32 scram-sha-256")
	r := await(t, probe(DB{TLS: trust(own, ""), TLSRequired: true}), server.Address(), "TLS", func(r Result) bool { return r.Verdict == Up })
	if !r.Facts.NotAfter.Equal(own.NotAfter) {
		t.Errorf("expiry: got %v; want %v", r.Facts.NotAfter, own.NotAfter)
	}
	if got := phasesOf(r); got != "connect tls auth query" {
		t.Errorf("phases: got %s", got)
	}
	for _, c := range []struct {
		name  string
		probe *Postgres
		want  verdict
	}{
		{"by name", probe(DB{TLS: trust(own, "server.test")}), good},
		{"no credentials", &Postgres{DB: DB{TLS: trust(own, "")}}, good},
		{"by another name", probe(DB{TLS: trust(own, "other.test")}), verdict{Down, ReasonTLS, "not other.test"}},
		{"by another authority", probe(DB{TLS: trust(foreign, "")}), verdict{Down, ReasonTLS, "unknown authority"}},
		{"plain text", probe(DB{}), verdict{Down, ReasonAuth, "no encryption"}},
	} {
		t.Run(c.name, func(t *testing.T) { c.want.check(t, ask(t, c.probe, server.Address())) })
	}
}

// Whether it wants a password or trusts, a server writes nothing about a probe
// without credentials.
func TestPostgresLogStaysEmptyWithoutCredentials(t *testing.T) {
	server := testserver.StartPostgres(t)
	for _, method := range []string{"trust", "md5", "scram-sha-256", "password"} {
		server.Authenticate("host all all 127.0.0.1/32 " + method)
		server.SQL("select pg_sleep(0)")
		before := server.Log()
		for range 50 {
			good.check(t, ask(t, &Postgres{}, server.Address()))
		}
		if more := strings.TrimPrefix(server.Log(), before); strings.Contains(more, "FATAL") || strings.Contains(more, "could not") {
			t.Errorf("%s: the server wrote:\n%s", method, more)
		}
	}
	server.Authenticate()
	verdict{Down, ReasonAuth, "no pg_hba.conf entry"}.check(t, ask(t, &Postgres{}, server.Address()))
}

func TestPostgresTakesNothingFromTheEnvironment(t *testing.T) {
	server := testserver.StartPostgres(t)
	server.SQL("create role probe login password 'right'")
	server.Authenticate("host all all 127.0.0.1/32 scram-sha-256")
	home := t.TempDir()
	if err := os.WriteFile(filepath.Join(home, ".pgpass"), []byte("*:*:*:*:right\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"HOME": home, "PGHOST": "192.0.2.1", "PGPORT": "x", "PGUSER": "nobody", "PGPASSWORD": "right", "PGSSLMODE": "verify-full",
		"PGSSLROOTCERT": "/nowhere", "PGSSLCERT": "/nowhere", "PGSSLCERTMODE": "x", "PGSERVICE": "none", "PGSERVICEFILE": "/nowhere", "PGOPTIONS": "-c nothing=1",
		"PGTARGETSESSIONATTRS": "x", "PGCONNECT_TIMEOUT": "x", "PGREQUIREAUTH": "none", "PGCHANNELBINDING": "require",
		"PGMINPROTOCOLVERSION": "x", "PGMAXPROTOCOLVERSION": "x", "PGSSLNEGOTIATION": "direct", "PGDATABASE": "none", "PGTZ": "nowhere",
	} {
		t.Setenv(name, value)
	}
	config, err := parsePostgresDefaults()
	if err != nil {
		t.Fatal(err)
	}
	if config.Password != "none" || config.TLSConfig != nil || len(config.Fallbacks) != 0 || config.ConnectTimeout != 0 ||
		config.ChannelBinding != "prefer" || config.RequireAuth != "" || config.ValidateConnect != nil {
		t.Errorf("configuration: got %+v", config)
	}
	good.check(t, ask(t, &Postgres{DB: DB{User: "probe", Password: secret("right")}}, server.Address()))
	verdict{Down, ReasonAuth, "password"}.check(t, ask(t, &Postgres{DB: DB{User: "probe"}}, server.Address()))
}

func TestPostgresOverItsUnixSocket(t *testing.T) {
	server := testserver.StartPostgres(t)
	for _, p := range []*Postgres{{}, superuser("primary"), {DB: DB{User: "postgres", TLS: trust(testserver.NewCertificate(t), ""), TLSRequired: true}}} {
		ctx, cancel := context.WithTimeout(t.Context(), 6*patience)
		defer cancel()
		good.check(t, p.Probe(ctx, Address{Path: server.Socket()}))
	}
}
