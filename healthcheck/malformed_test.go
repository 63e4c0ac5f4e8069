package healthcheck

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// A play is what a server that is no good answers to whoever connects.
type play struct {
	name   string
	answer string // sent at once, whatever the client says
	then   func(net.Conn)
}

// closes ends its direction and hears the client out: what is unread when a socket
// is closed becomes a reset, which may overtake the answer.
func closes(c net.Conn) {
	c.(*net.TCPConn).CloseWrite()
	staysSilent(c)
}

// staysSilent reads what comes until the client leaves.
func staysSilent(c net.Conn) { io.Copy(io.Discard, c) }

// endless repeats a text until the client leaves.
func endless(text string) func(net.Conn) {
	return func(c net.Conn) {
		go staysSilent(c)
		for chunk := []byte(strings.Repeat(text, 1+4096/len(text))); ; {
			if _, err := c.Write(chunk); err != nil {
				return
			}
		}
	}
}

// stage serves a play on a port of its own until t ends, and answers its address.
func stage(t *testing.T, s play, byteByByte bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			step := max(1, len(s.answer))
			if byteByByte {
				step = 1
			}
			for rest := s.answer; rest != ""; rest = rest[min(step, len(rest)):] {
				io.WriteString(c, rest[:min(step, len(rest))])
			}
			s.then(c)
			c.Close()
		}
	}()
	return l.Addr().String()
}

// mysqlPacket is one packet as a server sends it.
func mysqlPacket(sequence byte, body string) string {
	return string(appendMySQLPacket(nil, sequence, []byte(body)))
}

// goodGreeting is MariaDB's.
const goodGreeting = "\n5.5.5-10.11.19-MariaDB\x00\x1b\x00\x00\x00R|:JF^(H\x00\xfe\xf7\x08\x02\x00\xff\x81\x15\x00\x00\x00\x00\x00\x00\x1d\x00\x00\x00u4A,WSz-ne.S\x00mysql_native_password\x00"

var (
	authOK      = "R\x00\x00\x00\x08\x00\x00\x00\x00"
	ready       = "Z\x00\x00\x00\x05I"
	startingUp  = "E\x00\x00\x00\x30SFATAL\x00C57P03\x00Mthe database is starting up\x00\x00"
	mysqlOKBody = "\x00\x00\x00\x02\x00\x00\x00"
)

func TestMalformedAnswers(t *testing.T) {
	postgres := []Prober{&Postgres{}, &Postgres{DB: DB{User: "probe", Password: secret("x")}}}
	mysqls := []Prober{&MySQL{}, &MySQL{DB: DB{User: "probe", Password: secret("x")}}}
	redis := []Prober{&Redis{}, &Redis{DB{Password: secret("x")}}}
	in := []Prober{postgres[1]}
	my := []Prober{mysqls[1]}
	for _, c := range []struct {
		protocol string
		probes   []Prober
		play     play
		want     verdict
	}{
		{"postgres", postgres, play{"closes at once", "", closes}, verdict{Down, "", ""}},
		{"postgres", postgres, play{"is silent", "", staysSilent}, verdict{Down, ReasonTimeout, "timeout during auth"}},
		{"postgres", postgres, play{"speaks HTTP", "HTTP/1.1 400 Bad Request\r\n\r\n", staysSilent}, verdict{Down, ReasonProtocol, `"HTTP/" is not how PostgreSQL begins`}},
		{"postgres", postgres, play{"speaks SSH", "SSH-2.0-OpenSSH_9.2\r\n", staysSilent}, verdict{Down, ReasonProtocol, `"SSH-2" is not how PostgreSQL begins`}},
		{"postgres", postgres, play{"is cut off", "R\x00\x00", closes}, verdict{Down, "", ""}},
		{"postgres", postgres, play{"announces too much", "R\x7f\xff\xff\xff", staysSilent}, verdict{Down, ReasonProtocol, ""}},
		{"postgres", postgres, play{"announces nothing", "R\x00\x00\x00\x00", staysSilent}, verdict{Down, ReasonProtocol, ""}},
		{"postgres", postgres, play{"sends notices without end", "", endless("N\x00\x00\x00\x05\x00")}, verdict{Down, ReasonProtocol, "longer than 65536 bytes"}},
		{"postgres", postgres, play{"is starting up", startingUp, closes}, verdict{Down, ReasonAnswer, "FATAL: the database is starting up"}},
		{"postgres", in, play{"is silent after login", authOK + ready, staysSilent}, verdict{Down, ReasonTimeout, "timeout during query"}},
		{"postgres", in, play{"answers without end", authOK + ready, endless("C\x00\x00\x00\x06x\x00")}, verdict{Down, ReasonProtocol, "longer than 65536 bytes"}},
		{"postgres", in, play{"answers nothing", authOK + ready + "I\x00\x00\x00\x04" + ready, staysSilent}, verdict{Down, ReasonProtocol, "not the one row"}},

		{"mysql", mysqls, play{"closes at once", "", closes}, verdict{Down, "", ""}},
		{"mysql", mysqls, play{"is silent", "", staysSilent}, verdict{Down, ReasonTimeout, "timeout during greeting"}},
		{"mysql", mysqls, play{"speaks SSH", "SSH-2.0-OpenSSH_9.2\r\n", staysSilent}, verdict{Down, ReasonProtocol, `"SSH-" is not how MySQL begins`}},
		{"mysql", mysqls, play{"is cut off", mysqlPacket(0, goodGreeting)[:40], closes}, verdict{Down, ReasonProtocol, "greeting: connection closed by the server"}},
		{"mysql", mysqls, play{"greets too briefly", mysqlPacket(0, goodGreeting[:40]), staysSilent}, verdict{Down, ReasonProtocol, "cut off"}},
		{"mysql", mysqls, play{"refuses", mysqlPacket(0, "\xff\x69\x04Host '10.0.0.9' is blocked"), closes}, verdict{Down, ReasonAnswer, "1129: Host '10.0.0.9' is blocked"}},
		{"mysql", mysqls, play{"speaks an old protocol", mysqlPacket(0, "\x09"+goodGreeting[1:]), staysSilent}, verdict{Down, ReasonProtocol, "not how MySQL begins"}},
		{"mysql", my, play{"is silent after its greeting", mysqlPacket(0, goodGreeting), staysSilent}, verdict{Down, ReasonTimeout, "timeout during auth"}},
		{"mysql", my, play{"switches to half a method", mysqlPacket(0, goodGreeting) + mysqlPacket(2, "\xfemysql_native_password\x00ab"), staysSilent}, verdict{Down, ReasonProtocol, "no answer to a login"}},
		{"mysql", my, play{"sends an empty OK", mysqlPacket(0, goodGreeting) + mysqlPacket(2, "\x00"), staysSilent}, verdict{Down, ReasonProtocol, "no answer to a login"}},
		{"mysql", my, play{"announces too much", mysqlPacket(0, goodGreeting) + "\xff\xff\xff\x02", staysSilent}, verdict{Down, ReasonProtocol, "longer than 65536 bytes"}},
		{"mysql", my, play{"is silent after login", mysqlPacket(0, goodGreeting) + mysqlPacket(2, mysqlOKBody), staysSilent}, verdict{Down, ReasonTimeout, "timeout during query"}},
		{"mysql", my, play{"answers without end", mysqlPacket(0, goodGreeting) + mysqlPacket(2, mysqlOKBody) + mysqlPacket(1, "\x01"), endless(mysqlPacket(2, "\x00\x00"))}, verdict{Down, ReasonProtocol, ""}},

		{"redis", redis, play{"closes at once", "", closes}, verdict{Down, "", ""}},
		{"redis", redis, play{"is silent", "", staysSilent}, verdict{Down, ReasonTimeout, "timeout during"}},
		{"redis", redis, play{"speaks HTTP", "HTTP/1.1 400 Bad Request\r\n\r\n", staysSilent}, verdict{Down, ReasonProtocol, "not how Redis begins"}},
		{"redis", redis, play{"is cut off", "+PO", closes}, verdict{Down, "", ""}},
		{"redis", redis, play{"announces too much", "$536870912\r\n", staysSilent}, verdict{Down, ReasonProtocol, "longer than 65536 bytes"}},
		{"redis", redis, play{"nests without end", "", endless("*1\r\n")}, verdict{Down, ReasonProtocol, "nest too deep"}},
		{"redis", redis, play{"sends a line without end", "+", endless("x")}, verdict{Down, ReasonProtocol, "longer than 65536 bytes"}},
		{"redis", redis, play{"has no room", "-ERR max number of clients reached\r\n", closes}, verdict{Down, ReasonAnswer, "max number of clients"}},
		{"redis", redis[:1], play{"is silent after PONG", "+PONG\r\n", staysSilent}, verdict{Down, ReasonTimeout, "timeout during query"}},
	} {
		t.Run(c.protocol+" "+c.play.name, func(t *testing.T) {
			t.Parallel()
			for _, byteByByte := range []bool{false, true} {
				address := stage(t, c.play, byteByByte)
				for _, p := range c.probes {
					limit := 6 * patience
					if c.want.Reason == "" || c.want.Reason == ReasonTimeout {
						limit = 500 * time.Millisecond
					}
					ctx, cancel := context.WithTimeout(t.Context(), limit)
					start := time.Now()
					r := p.Probe(ctx, addressOf(t, address))
					cancel()
					if r.Verdict != Down || c.want.Reason != "" && r.Reason != c.want.Reason || !strings.Contains(r.Text(), c.want.Text) || r.Text() == "" {
						t.Errorf("%T: got %v, reason %q, text %q; want %+v", p, r.Verdict, r.Reason, r.Text(), c.want)
					}
					if took := time.Since(start); took > limit+patience {
						t.Errorf("%T: took %v", p, took)
					}
				}
			}
		})
	}
}

// What a server says ends up in logs, in memory and on terminals.
func TestLongAnswersAreShortened(t *testing.T) {
	long := "\x1b[31mred\r\n" + strings.Repeat("a", 20_000)
	for _, c := range []struct {
		name   string
		probe  Prober
		answer string
	}{
		{"postgres refuses", &Postgres{}, postgresPacket('E', "SFATAL\x00C57P03\x00M"+long+"\x00\x00")},
		{"mysql refuses", &MySQL{}, mysqlPacket(0, "\xff\x69\x04"+long)},
		{"mysql has a version", &MySQL{}, mysqlPacket(0, "\n"+long+goodGreeting[strings.IndexByte(goodGreeting, 0):])},
		{"redis refuses", &Redis{}, "-ERR " + strings.ReplaceAll(long, "\r\n", "") + "\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := ask(t, c.probe, stage(t, play{answer: c.answer, then: closes}, false))
			for what, text := range map[string]string{"text": r.Text(), "version": r.Facts.Version} {
				if most := maxReason + len("..."); len(text) > most || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' }) {
					t.Errorf("%s: got %d bytes, %.40q; want at most %d that can be printed", what, len(text), text, most)
				}
			}
			if !strings.Contains(r.Text()+r.Facts.Version, "[31mred") {
				t.Errorf("got text %q, version %q; want what the server said", r.Text(), r.Facts.Version)
			}
		})
	}
}

// postgresPacket is one message as a server sends it.
func postgresPacket(kind byte, body string) string {
	return string(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body)+4))) + body
}

// A good server that is slow to write is good.
func TestAnswersByteByByte(t *testing.T) {
	for _, c := range []struct {
		probe  Prober
		answer string
	}{
		{&Postgres{}, authOK + ready},
		{&Postgres{}, "R\x00\x00\x00\x0c\x00\x00\x00\x05salt"},
		{&MySQL{}, mysqlPacket(0, goodGreeting) + mysqlPacket(2, "\xff\x15\x04#28000Access denied")},
		{&Redis{}, "+PONG\r\n*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n$0\r\n\r\n$0\r\n\r\n"},
	} {
		good.check(t, ask(t, c.probe, stage(t, play{answer: c.answer, then: staysSilent}, true)))
	}
}

func FuzzPostgresMessage(f *testing.F) {
	f.Add([]byte(startingUp))
	f.Add([]byte(authOK + ready))
	f.Add([]byte("Ecould not fork new process\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := readPostgresMessage(bytes.NewReader(b))
		if err == nil && m.kind == 'E' && fatal(m.body) == nil {
			t.Errorf("%q is an error, and no fault", b)
		}
	})
}

func FuzzMySQLGreeting(f *testing.F) {
	f.Add([]byte(goodGreeting))
	f.Add([]byte("\xff\x10\x04#08004Too many connections"))
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := parseMySQLGreeting(b)
		if err == nil {
			mysqlStranger(&g)
		}
	})
}

func FuzzMySQLLogin(f *testing.F) {
	f.Add([]byte(mysqlOKBody))
	f.Add([]byte("\xfemysql_native_password\x00aaaaaaaaaaaaaaaaaaaa\x00"))
	f.Add([]byte("\x01\x03"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 0 {
			wellFormedLogin(b)
		}
	})
}

func FuzzRESP(f *testing.F) {
	f.Add([]byte("*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"))
	f.Add([]byte("$-1\r\n"))
	f.Add([]byte("-LOADING Redis is loading\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		reply, err := readRESP(bufio.NewReader(bytes.NewReader(b)), respDepth)
		if err == nil {
			new(Facts).readRedisRole(reply)
			redisLag(redisInfo(reply.text))
		}
	})
}
