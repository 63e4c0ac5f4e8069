package healthcheck

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"net/netip"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// echo is one ICMP echo request (RFC 792, RFC 4443 section 4.1) and what makes
// an answer ours. The token alone would do, 128 random bits; id and sequence
// are what a router's error message is sure to quote.
type echo struct {
	to    netip.Addr // unmapped
	id    uint16
	seq   uint16
	token [16]byte
}

// newEcho is an echo request to to with a random id, sequence and token.
func newEcho(to netip.Addr) echo {
	var random [20]byte
	rand.Read(random[:]) // never fails
	return echo{
		to:    to.Unmap(),
		id:    binary.BigEndian.Uint16(random[0:]),
		seq:   binary.BigEndian.Uint16(random[2:]),
		token: [16]byte(random[4:]),
	}
}

// key is what both a reply and an error message tell of the request.
func (e *echo) key() uint32 { return uint32(e.id)<<16 | uint32(e.seq) }

// request is the message as it is sent. The kernel fills in the checksum of
// ICMPv6, which covers addresses that only it knows.
func (e *echo) request() ([]byte, error) {
	m := icmp.Message{
		Type: ipv4.ICMPTypeEcho,
		Body: &icmp.Echo{ID: int(e.id), Seq: int(e.seq), Data: e.token[:]},
	}
	if e.to.Is6() {
		m.Type = ipv6.ICMPTypeEchoRequest
	}
	return m.Marshal(nil)
}

// A response is a received ICMP message that may concern an echo request.
type response struct {
	key    uint32     // of the request
	token  []byte     // its token; an error message may have cut it short
	failed bool       // an error message, not a reply
	to     netip.Addr // where the request went; known of an error message only
}

// answers says whether r concerns e, and not the request of another probe or
// process that happens to have the same id and sequence.
func (r *response) answers(e *echo) bool {
	if r.key != e.key() {
		return false
	}
	if !r.failed {
		return bytes.Equal(r.token, e.token[:])
	}
	return r.to == e.to.WithZone("") && bytes.HasPrefix(e.token[:], r.token)
}

// Protocol numbers, as icmp.ParseMessage takes them and IP headers carry them.
const (
	protocolICMP   = 1
	protocolICMPv6 = 58
)

// echoHeader is the length of type, code, checksum, id and sequence.
const echoHeader = 8

// parseResponse reads an ICMP message of the family that protocol names. It is
// false for everything but echo replies and the errors that mean that an echo
// request could not be delivered. The response refers to b.
func parseResponse(protocol int, b []byte) (response, bool) {
	m, err := icmp.ParseMessage(protocol, b)
	if err != nil {
		return response{}, false
	}
	switch body := m.Body.(type) {
	case *icmp.Echo:
		if m.Type == ipv4.ICMPTypeEchoReply || m.Type == ipv6.ICMPTypeEchoReply {
			return response{key: uint32(uint16(body.ID))<<16 | uint32(uint16(body.Seq)), token: body.Data}, true
		}
	case *icmp.DstUnreach:
		return parseQuote(protocol, body.Data)
	case *icmp.TimeExceeded:
		return parseQuote(protocol, body.Data)
	}
	return response{}, false
}

// parseQuote reads the start of an echo request, IP header included, that an
// error message quotes.
func parseQuote(protocol int, b []byte) (response, bool) {
	to, b, ok := cutHeader(protocol, b)
	if !ok || len(b) < echoHeader || !isRequest(protocol, b[0]) {
		return response{}, false
	}
	token := b[echoHeader:]
	token = token[:min(len(token), len(echo{}.token))]
	return response{key: binary.BigEndian.Uint32(b[4:]), token: token, failed: true, to: to}, true
}

func isRequest(protocol int, kind byte) bool {
	if protocol == protocolICMP {
		return kind == byte(ipv4.ICMPTypeEcho)
	}
	return kind == byte(ipv6.ICMPTypeEchoRequest)
}

// cutHeader cuts the IP header off an ICMP packet and returns the packet's
// destination. Extension headers of IPv6 do not occur: we send none.
func cutHeader(protocol int, b []byte) (to netip.Addr, rest []byte, ok bool) {
	if protocol == protocolICMPv6 {
		if len(b) < ipv6.HeaderLen || b[0]>>4 != 6 || b[6] != protocolICMPv6 {
			return to, nil, false
		}
		return netip.AddrFrom16([16]byte(b[24:40])), b[ipv6.HeaderLen:], true
	}
	if len(b) < ipv4.HeaderLen || b[0]>>4 != 4 || b[9] != protocolICMP {
		return to, nil, false
	}
	length := int(b[0]&0x0f) * 4
	if length < ipv4.HeaderLen || length > len(b) {
		return to, nil, false
	}
	return netip.AddrFrom4([4]byte(b[16:20])), b[length:], true
}
