package healthcheck

import (
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

var destinations = []struct {
	protocol int
	to       netip.Addr
}{
	{protocolICMP, netip.MustParseAddr("192.0.2.1")},
	{protocolICMPv6, netip.MustParseAddr("2001:db8::1")},
}

// reply is the message that answers e.
func reply(t testing.TB, e *echo) []byte {
	m := icmp.Message{Type: ipv4.ICMPTypeEchoReply, Body: &icmp.Echo{ID: int(e.id), Seq: int(e.seq), Data: e.token[:]}}
	if e.to.Is6() {
		m.Type = ipv6.ICMPTypeEchoReply
	}
	return marshal(t, m)
}

// refusal is a router's error message that quotes the first n bytes of e's
// packet after the IP header.
func refusal(t testing.TB, e *echo, n int) []byte {
	request, err := e.request()
	if err != nil {
		t.Fatal(err)
	}
	m := icmp.Message{Type: ipv4.ICMPTypeDestinationUnreachable}
	if e.to.Is6() {
		m.Type = ipv6.ICMPTypeDestinationUnreachable
	}
	m.Body = &icmp.DstUnreach{Data: append(ipHeader(e.to), request[:n]...)}
	return marshal(t, m)
}

// ipHeader is the header of a packet to to that carries ICMP.
func ipHeader(to netip.Addr) []byte {
	if to.Is4() {
		b := make([]byte, ipv4.HeaderLen)
		b[0], b[9] = 4<<4|ipv4.HeaderLen/4, protocolICMP
		copy(b[16:], to.AsSlice())
		return b
	}
	b := make([]byte, ipv6.HeaderLen)
	b[0], b[6] = 6<<4, protocolICMPv6
	copy(b[24:], to.AsSlice())
	return b
}

func marshal(t testing.TB, m icmp.Message) []byte {
	b, err := m.Marshal(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestResponseAnswersItsRequestOnly(t *testing.T) {
	for _, d := range destinations {
		e := newEcho(d.to)
		otherToken, otherSeq, otherHost := e, e, e
		otherToken.token[15] ^= 1
		otherSeq.seq ^= 1
		otherHost.to = d.to.Next()
		tests := []struct {
			name    string
			message []byte
			answers bool
		}{
			{"reply", reply(t, &e), true},
			{"reply to another token", reply(t, &otherToken), false},
			{"reply to another sequence", reply(t, &otherSeq), false},
			{"error that quotes all", refusal(t, &e, 24), true},
			{"error that quotes eight bytes", refusal(t, &e, 8), true},
			{"error about another token", refusal(t, &otherToken, 24), false},
			{"error about another sequence", refusal(t, &otherSeq, 8), false},
			{"error about another host", refusal(t, &otherHost, 24), false},
		}
		for _, tt := range tests {
			r, ok := parseResponse(d.protocol, tt.message)
			if !ok {
				t.Errorf("%s, %s: not parsed", d.to, tt.name)
				continue
			}
			if got := r.answers(&e); got != tt.answers {
				t.Errorf("%s, %s: got answers %v; want %v", d.to, tt.name, got, tt.answers)
			}
		}
	}
}

func TestParseResponseIgnores(t *testing.T) {
	for _, d := range destinations {
		e := newEcho(d.to)
		request, _ := e.request()
		for name, b := range map[string][]byte{
			"nothing":                 nil,
			"our own request on lo":   request,
			"a quote of seven bytes":  refusal(t, &e, 7),
			"a type without a body":   {255, 0, 0, 0, 0, 0, 0, 0},
			"a header without a rest": reply(t, &e)[:4],
		} {
			if r, ok := parseResponse(d.protocol, b); ok {
				t.Errorf("%s, %s: got %+v; want it ignored", d.to, name, r)
			}
		}
	}
}

func FuzzParseResponse(f *testing.F) {
	for _, d := range destinations {
		e := newEcho(d.to)
		request, _ := e.request()
		f.Add(d.to.Is6(), request)
		f.Add(d.to.Is6(), reply(f, &e))
		f.Add(d.to.Is6(), refusal(f, &e, 8))
		f.Add(d.to.Is6(), refusal(f, &e, 24))
	}
	f.Fuzz(func(t *testing.T, v6 bool, b []byte) {
		protocol := protocolICMP
		if v6 {
			protocol = protocolICMPv6
		}
		before := slices.Clone(b)
		r, ok := parseResponse(protocol, b)
		if !slices.Equal(before, b) {
			t.Error("the message was changed")
		}
		if ok && r.failed && len(r.token) > len(echo{}.token) {
			t.Errorf("token of %d bytes; want at most %d", len(r.token), len(echo{}.token))
		}
		e := newEcho(destinations[0].to)
		if ok && r.answers(&e) {
			t.Error("a message made without knowledge of the token answers")
		}
	})
}
