package testserver

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// StartReplica starts a server that streams from p, for t. It is ready when it takes
// read-only sessions.
func (p *Postgres) StartReplica(t testing.TB, more ...string) *Postgres {
	t.Helper()
	dir := directory(t, "postgres")
	r := &Postgres{Port: FreePort(t), SocketDir: dir, t: t, data: filepath.Join(dir, "data"), settings: append(p.settings[:len(p.settings):len(p.settings)], more...)}
	own(t, dir)
	r.copy(p)
	r.Restart()
	t.Cleanup(r.stop)
	return r
}

// copy takes a base backup of a primary, to stream from it.
func (p *Postgres) copy(primary *Postgres) {
	p.t.Helper()
	out, err := p.command(PostgresProgram(p.t, "pg_basebackup"), "--pgdata", p.data, "--no-sync", "--checkpoint=fast",
		"--write-recovery-conf", "--host=127.0.0.1", "--port="+strconv.Itoa(primary.Port), "--username=postgres").CombinedOutput()
	if err != nil {
		p.t.Fatalf("pg_basebackup: %v\n%s", err, out)
	}
}

// Promote makes a replica a primary, and returns when it takes writes.
func (p *Postgres) Promote() {
	p.t.Helper()
	if out, err := p.command(PostgresProgram(p.t, "pg_ctl"), "promote", "-w", "-D", p.data).CombinedOutput(); err != nil {
		p.t.Fatalf("pg_ctl promote: %v\n%s", err, out)
	}
}

// Demote makes p, whatever it was, a replica of primary with primary's data.
func (p *Postgres) Demote(primary *Postgres) {
	p.t.Helper()
	p.Stop()
	if err := os.RemoveAll(p.data); err != nil {
		p.t.Fatal(err)
	}
	p.copy(primary)
	p.Restart()
}

// Stop shuts the server down in an orderly way; Restart starts it again.
func (p *Postgres) Stop() {
	p.t.Helper()
	if p.process.running() {
		p.process.stop(p.t, syscall.SIGINT) // "fast shutdown"
		<-p.process.ended
	}
}

// SQL runs statements as the superuser and returns the rows that they answer, one a
// line, their columns separated by "|".
func (p *Postgres) SQL(statements ...string) string {
	p.t.Helper()
	args := []string{"-XAtq", "-v", "ON_ERROR_STOP=1", "-h", p.SocketDir, "-p", strconv.Itoa(p.Port), "-U", "postgres"}
	for _, s := range statements {
		args = append(args, "-c", s)
	}
	out, err := p.command(PostgresProgram(p.t, "psql"), args...).CombinedOutput()
	if err != nil {
		p.t.Fatalf("psql: %v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// Authenticate replaces what pg_hba.conf says of clients over TCP; local ones, and
// replicas, stay trusted.
func (p *Postgres) Authenticate(lines ...string) {
	p.t.Helper()
	lines = append([]string{"local all all trust", "host replication all 127.0.0.1/32 trust"}, lines...)
	p.write("pg_hba.conf", strings.Join(lines, "\n")+"\n")
	p.SQL("select pg_reload_conf()")
	if problems := p.SQL("select error from pg_hba_file_rules where error is not null"); problems != "" {
		p.t.Fatalf("pg_hba.conf: %s", problems)
	}
}

// UseTLS makes the server offer TLS to new sessions.
func (p *Postgres) UseTLS(c *Certificate) {
	p.t.Helper()
	p.SQL(fmt.Sprintf("alter system set ssl_cert_file = '%s'", c.CertFile),
		fmt.Sprintf("alter system set ssl_key_file = '%s'", c.KeyFile),
		"alter system set ssl = on", "select pg_reload_conf()")
}

// Log is what the server has written since it was last started.
func (p *Postgres) Log() string { return p.process.output.String() }

func (p *Postgres) write(name, text string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.data, name), []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}
