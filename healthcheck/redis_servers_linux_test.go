package healthcheck

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/limeload/limeload/pkg/testserver"
)

func TestRedisRolesAndLink(t *testing.T) {
	master := testserver.StartRedis(t)
	replica := master.StartReplica(t)
	probe := func(role string, limit Lag, down bool) *Redis {
		return &Redis{DB{Role: role, MaxLag: limit, LagDown: down}}
	}
	isUp := func(r Result) bool { return r.Verdict == Up }
	r := ask(t, probe("primary", Lag{}, false), master.Address())
	good.check(t, r)
	if r.Facts.Role != RolePrimary || strings.Count(r.Facts.Version, ".") != 2 || phasesOf(r) != "connect query" {
		t.Errorf("master: got %+v, phases %s", r.Facts, phasesOf(r))
	}
	limit := Lag{Bytes: 1 << 20, Time: time.Minute}
	r = await(t, probe("replica", limit, true), replica.Address(), "a replica that keeps up", isUp)
	if r.Facts.Role != RoleReplica || !r.Facts.HasLag || r.Facts.Lag.Bytes != 0 || r.Facts.Lag.Time < 0 {
		t.Errorf("replica: got %+v", r.Facts)
	}
	verdict{Down, ReasonRole, "is a replica (want primary)"}.check(t, ask(t, probe("primary", Lag{}, false), replica.Address()))
	verdict{Down, ReasonRole, "is a primary (want replica)"}.check(t, ask(t, probe("replica", Lag{}, false), master.Address()))

	master.Kill()
	linkDown := func(r Result) bool { return r.Verdict != Up }
	r = await(t, probe("replica", Lag{}, false), replica.Address(), "a replica without its master", linkDown)
	verdict{Degraded, ReasonLag, "link to the master is not up (connect"}.check(t, r)
	if r.Facts.Share != 1 {
		t.Errorf("share: got %d; want 1", r.Facts.Share)
	}
	verdict{Down, ReasonLag, "link to the master"}.check(t, ask(t, probe("replica", Lag{}, true), replica.Address()))
	replica.Do("CONFIG", "SET", "replica-serve-stale-data", "no")
	verdict{Down, ReasonAnswer, "MASTERDOWN"}.check(t, ask(t, probe("replica", Lag{}, false), replica.Address()))

	replica.Do("REPLICAOF", "NO", "ONE")
	good.check(t, ask(t, probe("primary", Lag{}, false), replica.Address()))
}

func TestRedisAuthentication(t *testing.T) {
	server := testserver.StartRedis(t, "--requirepass", "right")
	server.Do("-a", "right", "ACL", "SETUSER", "probe", "on", ">secret", "+ping", "+role", "+info")
	server.Do("-a", "right", "ACL", "SETUSER", "mute", "on", ">secret", "+role")
	open := testserver.StartRedis(t)
	for _, c := range []struct {
		name    string
		probe   DB
		address string
		want    verdict
	}{
		{"password", DB{Password: secret("right"), Role: "primary"}, server.Address(), good},
		{"user and password", DB{User: "probe", Password: secret("secret"), Role: "primary"}, server.Address(), good},
		{"wrong password", DB{Password: secret("wrong")}, server.Address(), verdict{Down, ReasonAuth, "WRONGPASS"}},
		{"no such user", DB{User: "none", Password: secret("right")}, server.Address(), verdict{Down, ReasonAuth, "WRONGPASS"}},
		{"a user who may not PING", DB{User: "mute", Password: secret("secret")}, server.Address(), verdict{Down, ReasonAuth, "NOPERM"}},
		{"no password: somebody is alive", DB{}, server.Address(), good},
		{"no password, and a role", DB{Role: "primary"}, server.Address(), verdict{Down, ReasonAuth, "NOAUTH"}},
		{"a password where none is set", DB{Password: secret("right")}, open.Address(), verdict{Down, ReasonAuth, "without any password configured"}},
	} {
		t.Run(c.name, func(t *testing.T) { c.want.check(t, ask(t, &Redis{c.probe}, c.address)) })
	}
}

func TestRedisTLS(t *testing.T) {
	own, foreign := testserver.NewCertificate(t), testserver.NewCertificate(t)
	port := testserver.FreePort(t)
	testserver.StartRedis(t, "--tls-port", strconv.Itoa(port), "--tls-cert-file", own.CertFile,
		"--tls-key-file", own.KeyFile, "--tls-ca-cert-file", own.CAFile, "--tls-auth-clients", "no")
	address := "127.0.0.1:" + strconv.Itoa(port)
	r := ask(t, &Redis{DB{TLS: trust(own, ""), Role: "primary"}}, address)
	good.check(t, r)
	if !r.Facts.NotAfter.Equal(own.NotAfter) || phasesOf(r) != "connect tls query" {
		t.Errorf("got expiry %v, phases %s; want %v", r.Facts.NotAfter, phasesOf(r), own.NotAfter)
	}
	for _, c := range []struct {
		name    string
		tls     DB
		address string
		want    verdict
	}{
		{"by another name", DB{TLS: trust(own, "other.test")}, address, verdict{Down, ReasonTLS, "not other.test"}},
		{"by another authority", DB{TLS: trust(foreign, "")}, address, verdict{Down, ReasonTLS, "unknown authority"}},
	} {
		t.Run(c.name, func(t *testing.T) { c.want.check(t, ask(t, &Redis{c.tls}, c.address)) })
	}
}

func TestRedisLoading(t *testing.T) {
	server := testserver.StartRedis(t, "--enable-debug-command", "yes", "--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024")
	server.Do("CONFIG", "SET", "key-load-delay", "0")
	server.Do("DEBUG", "POPULATE", "100000")
	server.Do("SAVE")
	server.Kill()
	server.Restart("Server initialized")
	await(t, &Redis{}, server.Address(), "a server that loads its data", func(r Result) bool {
		return r.Verdict == Down && r.Reason == ReasonAnswer && strings.HasPrefix(r.Text(), "LOADING")
	})
}
