//go:build linux

package main_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/limeload/limeload/pkg/testserver"
)

// A Redis server behind limeload is a Redis server.
func TestRedis(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, engine string) {
		server := testserver.StartRedis(t)
		l := serve(t, engine, fmt.Sprintf(`
			[[listener]]
			name = "front"
			listen = ["127.0.0.1:0"]
			pool = "redis"

			[[pool]]
			name = "redis"
			backend = [ { address = %q } ]
		`, server.Address()))
		address := l.address("front")

		subscriber, worker := dialRedis(t, address), dialRedis(t, address)
		subscriber.call("SUBSCRIBE", "news")
		subscriber.wantLines("*3", "subscribe", "news", ":1")
		worker.call("BLPOP", "queue", "0")
		for _, load := range redisLoads {
			t.Run(load.name, func(t *testing.T) { benchmarkRedis(t, address, load.args, load.tests) })
		}
		t.Run("a value of 64 MB", func(t *testing.T) { bigValue(t, address) })
		t.Run("a subscriber that was idle all the time hears", func(t *testing.T) {
			publisher := dialRedis(t, address)
			publisher.call("PUBLISH", "news", "here they are")
			publisher.wantLines(":1")
			subscriber.wantLines("*3", "message", "news", "here they are")
		})
		t.Run("a worker that was blocked all the time gets work", func(t *testing.T) {
			pusher := dialRedis(t, address)
			pusher.call("RPUSH", "queue", "work")
			pusher.wantLines(":1")
			worker.wantLines("*2", "queue", "work")
		})
	})
}

// redisLoads are runs of redis-benchmark, with the number of tests that each has.
var redisLoads = []struct {
	name  string
	args  []string
	tests int
}{
	{"every command", []string{"-n", "1000"}, 18},
	{"pipelining", []string{"-n", "10000", "-P", "16", "-t", "set,get,incr"}, 3},
	{"large values", []string{"-n", "200", "-d", "200000", "-t", "set,get"}, 2},
}

// benchmarkRedis runs redis-benchmark, which ends with an error as soon as a
// connection breaks or a reply is one.
func benchmarkRedis(t *testing.T, address string, args []string, tests int) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	args = append([]string{"-h", host, "-p", port, "-c", "50", "--csv", "-e"}, args...)
	report := output(t, testserver.RedisProgram(t, "redis-benchmark"), args...)
	rows := strings.Split(strings.TrimSpace(report), "\n")[1:]
	if len(rows) < tests {
		t.Errorf("got %d tests; want %d or more:\n%s", len(rows), tests, report)
	}
	for _, row := range rows {
		if rate := strings.Split(row, `","`); len(rate) < 2 || strings.HasPrefix(rate[1], "0.00") {
			t.Errorf("got %s; want some requests per second", row)
		}
	}
}

func bigValue(t *testing.T, address string) {
	value := randomBytes(2, 64<<20)
	c := dialRedis(t, address)
	sent := make(chan error, 1)
	go func() { sent <- c.write("SET", "big", string(value)) }()
	c.wantLines("+OK")
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	c.call("GET", "big")
	c.wantLine(fmt.Sprintf("$%d", len(value)))
	got := sha256.New()
	if _, err := io.CopyN(got, c.from, int64(len(value))); err != nil {
		t.Fatal(err)
	}
	if want := sha256.Sum256(value); !bytes.Equal(got.Sum(nil), want[:]) {
		t.Error("the value that came back is not the one that was set")
	}
}

// redisClient speaks RESP, Redis's protocol.
type redisClient struct {
	t    *testing.T
	conn *net.TCPConn
	from *bufio.Reader
}

func dialRedis(t *testing.T, address string) *redisClient {
	t.Helper()
	c := dial(t, address)
	return &redisClient{t, c, bufio.NewReader(c)}
}

// call sends a command.
func (c *redisClient) call(words ...string) {
	c.t.Helper()
	if err := c.write(words...); err != nil {
		c.t.Fatal(err)
	}
}

func (c *redisClient) write(words ...string) error {
	w := bufio.NewWriter(c.conn)
	fmt.Fprintf(w, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(w, "$%d\r\n", len(word))
		w.WriteString(word)
		w.WriteString("\r\n")
	}
	return w.Flush()
}

// wantLines reads a reply; words that are no header are bulk strings.
func (c *redisClient) wantLines(lines ...string) {
	c.t.Helper()
	for _, want := range lines {
		if !strings.ContainsAny(want[:1], "*:+") {
			c.wantLine("$" + strconv.Itoa(len(want)))
		}
		c.wantLine(want)
	}
}

func (c *redisClient) wantLine(want string) {
	c.t.Helper()
	got, err := c.from.ReadString('\n')
	if err != nil || strings.TrimRight(got, "\r\n") != want {
		c.t.Fatalf("got %.100q, %v; want %q", got, err, want)
	}
}
