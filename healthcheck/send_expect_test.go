package healthcheck

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"
)

func say(send, expect string) Step { return Step{Send: []byte(send), Expect: []byte(expect)} }

func match(send, expr string) Step {
	return Step{Send: []byte(send), ExpectRegexp: regexp.MustCompile(expr)}
}

// mail is a server that speaks first, and answers lines.
func mail(c net.Conn) {
	io.WriteString(c, "220 mail.example.org ESMTP\r\n")
	for lines := bufio.NewScanner(c); lines.Scan(); {
		switch line := lines.Text(); {
		case strings.HasPrefix(line, "EHLO"):
			io.WriteString(c, "250-mail.example.org\r\n250-SIZE 1000\r\n250 HELP\r\n")
		case line == "AUTH me secret":
			io.WriteString(c, "235 ok\r\n")
		case line == "QUIT":
			io.WriteString(c, "221 bye\r\n")
			return
		default:
			fmt.Fprintf(c, "500 %s?\r\n", line)
		}
	}
}

func TestSendExpect(t *testing.T) {
	for _, tt := range []struct {
		name  string
		serve func(net.Conn)
		steps []Step
		text  string
	}{
		{"a server that speaks first", mail, []Step{say("", "220 "), match("EHLO me\r\n", `(?m)^250 .*\r\n`), say("QUIT\r\n", "221")}, ""},
		{"user and password", mail, []Step{say("", "220 "), say("AUTH %{user} %{password}\r\n", "235")}, ""},
		{"something else is answered", mail, []Step{say("", "220"), say("QUIT\r\n", "250")},
			"connection closed before \"250\" came; got \" mail.example.org ESMTP\\r\\n221 bye\\r\\n\""},
		{"a repeated password is not shown", mail, []Step{say("", "ESMTP\r\n"), say("X%{password}\r\nQUIT\r\n", "250")},
			"connection closed before \"250\" came; got \"500 X***?\\r\\n221 bye\\r\\n\""},
		{"nothing is expected", silent, []Step{say("PING\r\n", "")}, ""},
		{"bytes, NUL among them", cuts("\x00\x01\x00\xff\x02", true), []Step{say("\x00", "\x00\xff"), say("", "\x02")}, ""},
		{"what is before is skipped", cuts("abcabdabe", false), []Step{say("", "abd"), say("", "abe")}, ""},
		{"what was taken is gone", cuts("abc", false), []Step{say("", "b"), say("", "ab")},
			`connection closed before "ab" came; got "c"`},
		{"an end that might have been the beginning", cuts("aaab", false), []Step{say("", "aab")}, ""},
		{"^ is where the step before ended", cuts("abc", false), []Step{say("", "a"), match("", "^b"), match("", "^c$")}, ""},
		{"no match", cuts("abc", false), []Step{match("", "^b")}, `connection closed before match of "^b" came; got "abc"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := serveFake(t, tt.serve)
			p := &SendExpect{Steps: tt.steps, User: "me", Password: Literal("secret")}
			r := probe(t, p, f.Address, patience)
			if (r.Verdict == Up) != (tt.text == "") || r.Text() != tt.text {
				t.Errorf("got %v, %q; want %q", r.Verdict, r.Text(), tt.text)
			}
			waitUntil(t, "the connection is closed", func() bool { return f.conns.Load() == 0 })
		})
	}
}

func TestSendExpectByteByByte(t *testing.T) {
	f := serveFake(t, drips("\x00+OK\x00 ready\r\n"))
	steps := []Step{say("", "\x00+O"), match("", `K\x00 \w+\r\n`)}
	judged(t, probe(t, &SendExpect{Steps: steps}, f.Address, patience), Up, "", "")
}

func TestSendExpectPhases(t *testing.T) {
	ca := newCertificates(t)
	server := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, time.Now().Add(time.Hour))}}
	f := serveFake(t, overTLS(server, mail))
	r := probe(t, &SendExpect{TLS: &tls.Config{RootCAs: ca.pool}, Steps: []Step{say("", "220"), say("QUIT\r\n", "221")}}, f.Address, patience)
	judged(t, r, Up, "", "")
	var names []string
	for _, p := range r.Phases {
		names = append(names, p.Name)
	}
	if got, want := strings.Join(names, " "), "connect tls step-1 step-2"; got != want {
		t.Errorf("phases: got %s; want %s", got, want)
	}
}

func TestSendExpectStepTimeout(t *testing.T) {
	f := serveFake(t, says("one"))
	steps := []Step{say("", "one"), {Expect: []byte("two"), Timeout: 20 * time.Millisecond}}
	judged(t, probe(t, &SendExpect{Steps: steps}, f.Address, patience), Down, ReasonTimeout, "timeout during step-2")

	// A step's time is its own: after it, only the probe's counts.
	f = serveFake(t, func(c net.Conn) {
		io.WriteString(c, "one")
		c.Read(make([]byte, 1))
		time.Sleep(60 * time.Millisecond)
		says("two")(c)
	})
	steps = []Step{{Expect: []byte("one"), Timeout: 50 * time.Millisecond}, say("x", "two")}
	judged(t, probe(t, &SendExpect{Steps: steps}, f.Address, patience), Up, "", "")
}

func TestSendExpectBadServers(t *testing.T) {
	badServers(t, &SendExpect{Steps: []Step{say("PING\r\n", "+PONG")}}, []malformed{
		{"another protocol", cuts(garbage, true), ReasonProtocol,
			`connection closed before "+PONG" came; got "J\x00\x00\x00\n8.0.36\x00\b\x00\x00\x00\x01\x02\x03\x04\x00\xff\xff"`},
		{"silence", silent, ReasonTimeout, "timeout during step-1"},
		{"nothing", cuts("", true), ReasonProtocol, `connection closed before "+PONG" came`},
		{"half an answer", cuts("+PON", true), ReasonProtocol, `connection closed before "+PONG" came; got "+PON"`},
		{"half an answer, and then nothing", says("+PON"), ReasonTimeout, "timeout during step-1"},
		{"no end", floods("", strings.Repeat("+PON", 100)), ReasonProtocol, `no "+PONG" in 65536 bytes`},
	})
	badServers(t, &SendExpect{Steps: []Step{match("", "o{900}$")}}, []malformed{
		{"no end of what almost matches", floods("", strings.Repeat("on", 1000)), ReasonProtocol, `no match of "o{900}$" in 65536 bytes`},
	})
}

// FuzzExpect holds that it does not matter in which pieces an answer comes, and that a
// text is found where bytes.Index finds it.
func FuzzExpect(f *testing.F) {
	f.Add([]byte("aaab"), []byte("aab"), uint8(1))
	f.Add([]byte("+OK\x00\r\n"), []byte("\x00"), uint8(3))
	f.Add([]byte(""), []byte("x"), uint8(2))
	f.Fuzz(func(t *testing.T, answer, want []byte, piece uint8) {
		step, all, rest := Step{Expect: want}, answer, heard{}
		found := rest.take(&step)
		for !found && len(answer) > 0 {
			n := min(int(piece)+1, len(answer))
			rest.add(answer[:n])
			answer = answer[n:]
			found = rest.take(&step)
		}
		at := bytes.Index(all, want)
		if found != (at >= 0) {
			t.Fatalf("%q in %q: got found %v; want %v", want, all, found, at >= 0)
		}
		if left := append(bytes.Clone(rest.bytes), answer...); found && !bytes.Equal(left, all[at+len(want):]) {
			t.Errorf("%q in %q: got %q left; want %q", want, all, left, all[at+len(want):])
		}
	})
}
