package healthcheck

import (
	"bufio"
	"context"
	"strconv"
	"strings"
	"time"
)

// Redis is the Prober of Redis servers, and of those that speak its protocol
// (Valkey, KeyDB, Dragonfly). Its phases are "connect", "tls" (if TLS is set), "auth"
// (if there is a Password) and "query".
//
// It sends AUTH if there is a Password, then PING, ROLE, INFO server and INFO
// replication at once, and closes. Redis logs nothing of that at its usual level
// (notice); a wrong password is an entry of ACL LOG. The rights that it needs:
//
//	ACL SETUSER limeload on >... +ping +role +info
//
// An error to PING is down with its text: LOADING while the data is read from disk,
// MASTERDOWN on a replica that may not serve without its master, MISCONF on a server
// that cannot save, BUSY while a script runs. NOAUTH is up when the probe has no
// Password and asks for no role: somebody is alive who wants to know who asks.
//
// The role is the answer to ROLE. A replica whose link to its master is not up
// (connect, connecting, sync, handshake) has data of unknown age or is about to
// replace it: it is Degraded, or down with LagDown, whether or not MaxLag is set. A
// replica does not know how far its master is, so its lag is what it has itself: in
// bytes, what it received and did not apply (Redis 7 and later); in time, how long ago
// its master last said anything, in whole seconds. An idle master speaks every
// repl-ping-replica-period (10 s), so that a limit of time has to be above that. While
// the link is down, the lag in time is for how long it has been.
//
// The client is not go-redis: that is made for pools that live long, and it takes as
// much memory as a reply announces, before the reply comes.
type Redis struct{ DB }

// Probe asks a.
func (r *Redis) Probe(ctx context.Context, a Address) Result {
	x := newExchange(ctx, a)
	defer x.close()
	return x.result(r.converse(x))
}

func (r *Redis) converse(x *exchange) error {
	password, err := r.Password.read()
	if err != nil {
		return err
	}
	if err := x.dial(); err != nil {
		return err
	}
	if r.TLS != nil && x.to.Path == "" {
		x.begin("tls")
		if err := x.secure(r.TLS); err != nil {
			return err
		}
	}
	c := &redisClient{x: x, from: bufio.NewReader(x.conn)}
	if password != "" {
		x.begin("auth")
		if err := r.login(c, password); err != nil {
			return err
		}
	}
	x.begin("query")
	return r.ask(c, password != "")
}

// login authenticates; without a User as the user "default", as Redis before 6 has
// it.
func (r *Redis) login(c *redisClient, password string) error {
	words := []string{"AUTH", r.User, password}
	if r.User == "" {
		words = []string{"AUTH", password}
	}
	replies, err := c.call(words)
	if err != nil {
		return err
	}
	switch reply := replies[0]; {
	case reply.kind == '-' && !isRedisAnswer(reply.text):
		return downf(ReasonAuth, "%s", reply.text)
	case reply.kind == '-':
		return downf(ReasonAnswer, "%s", reply.text)
	case reply.kind != '+':
		return downf(ReasonProtocol, "auth: the answer to AUTH is %.40q", reply.text)
	}
	return nil
}

// isRedisAnswer says whether an error is about the server, and not about who asks.
func isRedisAnswer(text string) bool {
	word, _, _ := strings.Cut(text, " ")
	switch word {
	case "LOADING", "MASTERDOWN", "MISCONF", "BUSY", "DENIED", "CLUSTERDOWN":
		return true
	}
	return strings.HasPrefix(text, "ERR max number of clients")
}

// ask reads the facts and judges.
func (r *Redis) ask(c *redisClient, loggedIn bool) error {
	replies, err := c.call([]string{"PING"}, []string{"ROLE"}, []string{"INFO", "server"}, []string{"INFO", "replication"})
	if err != nil {
		return err
	}
	ping, role, server, replication := replies[0], replies[1], replies[2], replies[3]
	if ping.kind == '-' {
		return r.refused(ping.text, loggedIn)
	}
	if ping.text != "PONG" {
		return downf(ReasonProtocol, "query: the answer to PING is %.40q", ping.text)
	}
	f := &c.x.facts
	f.Version = redisVersion(redisInfo(server.text))
	state := f.readRedisRole(role)
	if f.Role == RoleReplica {
		f.Lag, f.HasLag = redisLag(redisInfo(replication.text))
	}
	if err := r.acceptRole(f); err != nil {
		return err
	}
	if f.Role == RoleReplica && state != "connected" {
		f.Share = 1
		return r.lagging("link to the master is not up (%s)", state)
	}
	return r.acceptLag(f)
}

// refused judges an error to PING.
func (r *Redis) refused(text string, loggedIn bool) error {
	switch word, _, _ := strings.Cut(text, " "); {
	case word == "NOAUTH" && !loggedIn && !r.asks():
		return nil
	case word == "NOAUTH" || word == "NOPERM" || word == "WRONGPASS":
		return downf(ReasonAuth, "%s", text)
	}
	return downf(ReasonAnswer, "%s", text)
}

// readRedisRole reads the answer to ROLE and tells the state of a replica's link:
//
//	master, offset, replicas
//	slave, host, port, state of the link, offset
//	sentinel, masters
func (f *Facts) readRedisRole(role respReply) (link string) {
	if role.kind != '*' || len(role.items) == 0 {
		return ""
	}
	switch role.items[0].text {
	case "master":
		f.Role = RolePrimary
	case "slave":
		f.Role = RoleReplica
		if len(role.items) > 3 {
			return role.items[3].text
		}
	}
	return ""
}

// redisInfo is the fields of an answer to INFO: lines of "name:value".
func redisInfo(text string) map[string]string {
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[name] = value
		}
	}
	return fields
}

// redisVersion is the version of the server itself: others tell, as redis_version,
// the one that they are like.
func redisVersion(info map[string]string) string {
	for _, name := range []string{"valkey", "dragonfly"} {
		if v := info[name+"_version"]; v != "" {
			return name + " " + v
		}
	}
	return info["redis_version"]
}

// redisLag is the lag that a replica's INFO tells of.
func redisLag(info map[string]string) (l Lag, known bool) {
	l = unknownLag
	received, applied := number(info["slave_read_repl_offset"]), number(info["slave_repl_offset"])
	if received >= 0 && applied >= 0 {
		l.Bytes = max(0, received-applied)
	}
	seconds := number(info["master_last_io_seconds_ago"])
	if info["master_link_status"] != "up" {
		seconds = number(info["master_link_down_since_seconds"])
		l.Bytes = -1
	}
	if seconds >= 0 {
		l.Time = time.Duration(seconds) * time.Second
	}
	return l, l.Bytes >= 0 || l.Time >= 0
}

// number is a number of 0 or more, or -1.
func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 63)
	if err != nil {
		return -1
	}
	return max(-1, n)
}

// redisClient sends commands and reads as many replies.
type redisClient struct {
	x    *exchange
	from *bufio.Reader
}

func (c *redisClient) call(commands ...[]string) ([]respReply, error) {
	var request []byte
	for _, words := range commands {
		request = appendRESP(request, words...)
	}
	// A server that has no room says so and closes, perhaps before it has read
	// anything: its word counts, not that nobody listened.
	_, writeErr := c.x.conn.Write(request)
	var replies []respReply
	for range commands {
		reply, err := readRESP(c.from, respDepth)
		switch {
		case err != nil && len(replies) > 0 && replies[0].kind == '-':
			return nil, downf(ReasonAnswer, "%s", replies[0].text) // its last word
		case err != nil && writeErr != nil:
			return nil, writeErr
		case err != nil:
			return nil, err
		}
		replies = append(replies, reply)
	}
	return replies, nil
}
