package healthcheck

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/limeload/limeload/pkg/testserver"
)

func TestMySQLRolesAndLag(t *testing.T) {
	primary := testserver.StartMariaDB(t)
	replica := primary.StartReplica(t, "read-only=1")
	primary.SQL("create user probe identified by 'right'", "create user monitor identified by 'right'",
		"grant slave monitor on *.* to monitor")
	probe := func(user, role string, limit time.Duration, down bool) *MySQL {
		return &MySQL{DB: DB{User: user, Password: secret("right"), Role: role, MaxLag: Lag{Time: limit}, LagDown: down}}
	}
	isUp := func(r Result) bool { return r.Verdict == Up }

	r := ask(t, probe("probe", "primary", 0, false), primary.Address())
	good.check(t, r)
	if r.Facts.Role != RolePrimary || !strings.Contains(r.Facts.Version, "MariaDB") || phasesOf(r) != "connect greeting auth query" {
		t.Errorf("primary: got %+v, phases %s", r.Facts, phasesOf(r))
	}
	r = await(t, probe("monitor", "replica", 5*time.Second, true), replica.Address(), "a replica that keeps up", isUp)
	if r.Facts.Role != RoleReplica || !r.Facts.HasLag || r.Facts.Lag.Bytes != -1 {
		t.Errorf("replica: got %+v", r.Facts)
	}
	verdict{Down, ReasonRole, "is a replica (want primary)"}.check(t, ask(t, probe("probe", "primary", 0, false), replica.Address()))
	verdict{Down, ReasonRole, "is a primary (want replica)"}.check(t, ask(t, probe("probe", "replica", 0, false), primary.Address()))
	verdict{Degraded, ReasonLag, "lag is not known: Access denied"}.check(t, ask(t, probe("probe", "replica", time.Second, false), replica.Address()))

	replica.SQL("stop slave sql_thread")
	verdict{Degraded, ReasonLag, "SQL thread of replication runs: No"}.check(t, ask(t, probe("monitor", "replica", time.Second, false), replica.Address()))
	verdict{Down, ReasonLag, "SQL thread"}.check(t, ask(t, probe("monitor", "replica", time.Second, true), replica.Address()))
	good.check(t, ask(t, probe("monitor", "replica", 0, true), replica.Address()))

	// A replica that stays an hour behind on purpose.
	replica.SQL("stop slave", "change master to master_delay = 3600", "start slave")
	primary.SQL("create database filled")
	late := func(r Result) bool { return r.Facts.HasLag && r.Facts.Lag.Time >= 2*time.Second }
	r = await(t, probe("monitor", "replica", time.Second, false), replica.Address(), "a replica that is delayed", late)
	verdict{Degraded, ReasonLag, "exceeds 1s"}.check(t, r)
	if r.Facts.Share < 1 || r.Facts.Share > 50 {
		t.Errorf("share: got %d at %v; want at most half", r.Facts.Share, r.Facts.Lag.Time)
	}
	replica.SQL("stop slave", "change master to master_delay = 0", "start slave")
	await(t, probe("monitor", "replica", time.Second, true), replica.Address(), "a replica that caught up", isUp)

	replica.SQL("stop slave", "reset slave all", "set global read_only = 0")
	good.check(t, ask(t, probe("probe", "primary", 0, false), replica.Address()))
}

func TestMySQLAuthentication(t *testing.T) {
	server := testserver.StartMariaDB(t)
	server.SQL("create user probe identified by 'right'", "create user closed identified by 'right' account lock")
	as := func(user, password, query string) *MySQL {
		return &MySQL{DB: DB{User: user, Password: secret(password)}, Query: query}
	}
	for _, c := range []struct {
		name  string
		probe *MySQL
		want  verdict
	}{
		{"no credentials", &MySQL{}, good},
		{"native", as("probe", "right", ""), good},
		{"wrong password", as("probe", "wrong", ""), verdict{Down, ReasonAuth, "1045: Access denied for user 'probe'"}},
		{"an account that is locked", as("closed", "right", ""), verdict{Down, ReasonAnswer, "4151: Access denied, this account is locked"}},
		{"a query", as("probe", "right", "select 1"), good},
		{"a query that answers nothing", as("probe", "right", "do 1"), good},
		{"a query that fails", as("probe", "right", "select * from none.none"), verdict{Down, ReasonAnswer, "denied"}},
		{"a query that answers too much", as("probe", "right", "select repeat('x', 100000)"), verdict{Down, ReasonProtocol, "longer than 65536 bytes"}},
		{"TLS, where there is none", &MySQL{DB: DB{User: "probe", Password: secret("right"), TLS: trust(testserver.NewCertificate(t), ""), TLSRequired: true}},
			verdict{Down, ReasonTLS, "server has no TLS"}},
		{"TLS, if there is any", &MySQL{DB: DB{User: "probe", Password: secret("right"), TLS: trust(testserver.NewCertificate(t), "")}}, good},
	} {
		t.Run(c.name, func(t *testing.T) { c.want.check(t, ask(t, c.probe, server.Address())) })
	}
}

func TestMySQLTLS(t *testing.T) {
	own, foreign := testserver.NewCertificate(t), testserver.NewCertificate(t)
	server := testserver.StartMariaDB(t, "ssl-cert="+own.CertFile, "ssl-key="+own.KeyFile, "ssl-ca="+own.CAFile)
	server.SQL("create user probe identified by 'right' require ssl")
	probe := func(d DB) *MySQL {
		d.User, d.Password = "probe", secret("right")
		return &MySQL{DB: d}
	}
	r := ask(t, probe(DB{TLS: trust(own, ""), TLSRequired: true, Role: "primary"}), server.Address())
	good.check(t, r)
	if !r.Facts.NotAfter.Equal(own.NotAfter) || phasesOf(r) != "connect greeting tls auth query" {
		t.Errorf("got expiry %v, phases %s; want %v", r.Facts.NotAfter, phasesOf(r), own.NotAfter)
	}
	for _, c := range []struct {
		name  string
		probe *MySQL
		want  verdict
	}{
		{"by name", probe(DB{TLS: trust(own, "server.test")}), good},
		{"by another name", probe(DB{TLS: trust(own, "other.test")}), verdict{Down, ReasonTLS, "not other.test"}},
		{"by another authority", probe(DB{TLS: trust(foreign, "")}), verdict{Down, ReasonTLS, "unknown authority"}},
		{"plain text", probe(DB{}), verdict{Down, ReasonAuth, "Access denied"}},
	} {
		t.Run(c.name, func(t *testing.T) { c.want.check(t, ask(t, c.probe, server.Address())) })
	}
}

// A server that locks out who breaks one handshake does not lock a probe out. It does
// not watch clients of 127.0.0.1, so this needs a network with another address.
func TestMySQLNeverTripsMaxConnectErrors(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root for a network namespace")
	}
	if !insideNamespace(t) {
		return
	}
	run(t, "ip", "addr", "add", "10.77.0.1/24", "dev", "lo")
	server := testserver.StartMariaDB(t, "max-connect-errors=1", "bind-address=0.0.0.0", "performance-schema=on")
	server.SQL("create user probe identified by 'right'")
	address := fmt.Sprintf("10.77.0.1:%d", server.Port)
	for range 200 {
		good.check(t, ask(t, &MySQL{}, address))
	}
	good.check(t, ask(t, &MySQL{DB: DB{User: "probe", Password: secret("right"), Role: "primary"}}, address))
	errors := server.SQL("select coalesce(sum(sum_connect_errors + count_handshake_errors), 0) from performance_schema.host_cache")
	if errors != "0" {
		t.Errorf("the server counted %s handshakes that broke; want 0", errors)
	}
	if log := server.Log(); strings.Contains(log, "Aborted connection") {
		t.Errorf("the server logged aborted connections:\n%.2000s", log)
	}
}

func TestMySQLTooManyConnections(t *testing.T) {
	server := testserver.StartMariaDB(t, "max-connections=10", "extra-max-connections=1")
	for range 20 {
		conn, err := dialAddress(t.Context(), addressOf(t, server.Address()))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	await(t, &MySQL{}, server.Address(), "a server that is full", func(r Result) bool {
		return r.Verdict == Down && strings.Contains(r.Text(), "1040: Too many connections")
	})
}
