package testserver_test

import (
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/limeload/limeload/pkg/testserver"
)

func TestPostgresKeepsItsDataOverKillAndRestart(t *testing.T) {
	p := testserver.StartPostgres(t)
	c := connect(t, p)
	if _, err := c.Exec(t.Context(), "create table kept as select 42 as answer"); err != nil {
		t.Fatal(err)
	}

	p.Kill()
	if _, err := c.Exec(t.Context(), "select 1"); err == nil {
		t.Error("after Kill a session still answers")
	}
	if conn, err := net.Dial("tcp", p.Address()); err == nil {
		conn.Close()
		t.Error("after Kill something still listens")
	}

	p.Restart()
	var answer int
	if err := connect(t, p).QueryRow(t.Context(), "select answer from kept").Scan(&answer); err != nil || answer != 42 {
		t.Errorf("after Restart got %d, %v; want 42", answer, err)
	}
}

func TestPostgresListensOnItsUnixSocket(t *testing.T) {
	p := testserver.StartPostgres(t)
	c, err := net.Dial("unix", p.Socket())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestRedisAnswers(t *testing.T) {
	c, err := net.Dial("tcp", testserver.StartRedis(t).Address())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "PING\r\n")
	answer := make([]byte, len("+PONG\r\n"))
	if _, err := io.ReadFull(c, answer); err != nil || string(answer) != "+PONG\r\n" {
		t.Errorf("got %q, %v; want PONG", answer, err)
	}
}

func connect(t *testing.T, p *testserver.Postgres) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), fmt.Sprintf("postgres://postgres@%s/postgres", p.Address()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(t.Context()) })
	return c
}
