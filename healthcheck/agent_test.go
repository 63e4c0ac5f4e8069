package healthcheck

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

func TestAgent(t *testing.T) {
	for _, tt := range []struct {
		line    string
		verdict Verdict
		text    string
		facts   Facts
		warning string
	}{
		{"up", Up, "", Facts{}, ""},
		{"UP", Up, "", Facts{}, ""},
		{"ready", Up, "", Facts{Wish: WishReady}, ""},
		{"drain", Up, "", Facts{Wish: WishDrain}, ""},
		{"maint", Up, "", Facts{Wish: WishMaintenance}, ""},
		{"75%", Degraded, "agent asks for 75%", Facts{Share: 75}, ""},
		{"100%", Up, "", Facts{Share: 100}, ""},
		{"150%", Up, "", Facts{Share: 150}, ""},
		{"0%", Up, "", Facts{Wish: WishDrain}, ""},
		{"0% maint", Up, "", Facts{Wish: WishMaintenance}, ""},
		{"0% ready", Up, "", Facts{Wish: WishDrain}, ""},
		{"99999999999999999999%", Up, "", Facts{Share: 25600}, ""},
		{"maxconn:30", Up, "", Facts{MaxConnections: 30}, ""},
		{"maxconn:0", Up, "", Facts{}, ""},
		{"down", Down, "agent says down", Facts{}, ""},
		{"down#disk full", Down, "agent says down: disk full", Facts{}, ""},
		{"stopped # for the night", Down, "agent says stopped: for the night", Facts{}, ""},
		{"fail", Down, "agent says fail", Facts{}, ""},
		{"failed#\x1b[31mred", Down, "agent says failed: .[31mred", Facts{}, ""},
		{"up ready 50%, maxconn:7", Degraded, "agent asks for 50%", Facts{Share: 50, Wish: WishReady, MaxConnections: 7}, ""},
		{"\tdrain,,10%  up\t", Degraded, "agent asks for 10%", Facts{Share: 10, Wish: WishDrain}, ""},
		{"10% 20% drain ready up down", Down, "agent says down", Facts{Share: 20, Wish: WishReady}, ""},
		{"up#100% drain", Up, "", Facts{}, ""},
		{"up backwards", Up, "", Facts{}, `agent says "backwards", which means nothing`},
		{"up 7x% maxconn:-1", Up, "", Facts{}, `agent says "7x%", which means nothing`},
		{"backwards", Down, `agent says "backwards", which means nothing`, Facts{}, ""},
		{"75", Down, `agent says "75", which means nothing`, Facts{}, ""},
		{"# nothing", Down, "agent said nothing", Facts{}, ""},
		{"", Down, "agent said nothing", Facts{}, ""},
	} {
		for end, serve := range map[string]func(net.Conn){
			"LF":           says(tt.line + "\n"),
			"CR":           says(tt.line + "\rdown\n"),
			"CRLF":         cuts(tt.line+"\r\n", false),
			"byte by byte": drips(tt.line + "\n"),
		} {
			r := probe(t, NewAgent(""), serveFake(t, serve).Address, patience)
			if r.Verdict != tt.verdict || r.Text() != tt.text || r.Facts != tt.facts || r.Warning != tt.warning {
				t.Errorf("%q, %s: got %v, %q, %+v, warning %q; want %v, %q, %+v, %q",
					tt.line, end, r.Verdict, r.Text(), r.Facts, r.Warning, tt.verdict, tt.text, tt.facts, tt.warning)
			}
		}
	}
}

// What an agent does not speak of stays as it was, for each address by itself.
func TestAgentRemembers(t *testing.T) {
	lines := make(chan string, 1)
	say := func(c net.Conn) { fmt.Fprintln(c, <-lines) }
	f, other := serveFake(t, say), serveFake(t, say)
	p := NewAgent("")
	for _, tt := range []struct {
		to    *fake
		line  string
		facts Facts
	}{
		{f, "50% maxconn:9", Facts{Share: 50, MaxConnections: 9}},
		{f, "up", Facts{Share: 50, MaxConnections: 9}},
		{other, "up", Facts{}},
		{f, "drain", Facts{Share: 50, MaxConnections: 9, Wish: WishDrain}},
		{f, "up 100%", Facts{Share: 100, MaxConnections: 9, Wish: WishDrain}},
		{f, "ready maxconn:0", Facts{Share: 100, Wish: WishReady}},
		{f, "gibberish", Facts{}},
		{f, "0%", Facts{Wish: WishDrain}},
		{f, "ready", Facts{Wish: WishDrain}},
		{f, "10%", Facts{Share: 10, Wish: WishReady}},
	} {
		lines <- tt.line
		if r := probe(t, p, tt.to.Address, patience); r.Facts != tt.facts {
			t.Errorf("%q: got %+v; want %+v", tt.line, r.Facts, tt.facts)
		}
	}
}

func TestAgentHearsFirst(t *testing.T) {
	f := serveFakeUnix(t, func(c net.Conn) {
		if line, _ := bufio.NewReader(c).ReadString('\n'); line == "state\n" {
			io.WriteString(c, "up\n")
		}
	})
	judged(t, probe(t, NewAgent("state\n"), f.Address, patience), Up, "", "")
}

func TestAgentBadServers(t *testing.T) {
	badServers(t, NewAgent(""), []malformed{
		{"another protocol", says(garbage), ReasonProtocol, `agent says "J...", which means nothing`},
		{"silence", silent, ReasonTimeout, "timeout during agent"},
		{"nothing", cuts("", false), ReasonProtocol, "agent said nothing"},
		{"half a line", cuts("maxconn:3", false), ReasonProtocol, `agent's line has no end: "maxconn:3"`},
		{"half a line, and then nothing", says("75"), ReasonTimeout, "timeout during agent"},
		{"a line without end", floods("", strings.Repeat("up ", 1000)), ReasonProtocol, "reply is longer than 65536 bytes"},
	})
}

// FuzzAgent holds that whatever is understood is within its bounds, and whatever is
// not, is said in one printable line.
func FuzzAgent(f *testing.F) {
	for _, line := range []string{"75%", "up#x", "maxconn:30,drain", "\x00\xff%", "down # why", "-1%", "+5%"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		w, err := parseAgent(line)
		if w.share < 0 || w.share > maxShare || w.maxConnections < 0 || w.maxConnections > maxAgentConnections {
			t.Errorf("%q: got %+v; want it within bounds", line, w)
		}
		texts := []string{w.why, w.odd}
		if err != nil {
			texts = append(texts, err.Error())
		}
		for _, text := range texts {
			if text != printable(text, maxText) && len(text) < maxText || strings.ContainsAny(text, "\r\n\x1b\x00") {
				t.Errorf("%q: got text %q; want it printable", line, text)
			}
		}
	})
}
