package server

import (
	"net/netip"
	"testing"

	"github.com/limeload/limeload/splice"
)

func TestInheritedSocketFitsAListener(t *testing.T) {
	tcp := func(s string) Socket { return Socket{Addr: netip.MustParseAddrPort(s)} }
	dual := Socket{Addr: netip.MustParseAddrPort("[::]:5432"), Dual: true}
	at := func(s string) splice.Bind { return splice.Bind{Addr: netip.MustParseAddrPort(s)} }
	all := splice.Bind{Addr: netip.AddrPortFrom(netip.Addr{}, 5432)}
	for _, tt := range []struct {
		name   string
		listen splice.Bind
		socket Socket
		want   fit
	}{
		{"the same address", at("10.0.0.1:5432"), tcp("10.0.0.1:5432"), exactly},
		{"another address", at("10.0.0.1:5432"), tcp("10.0.0.2:5432"), not},
		{"another port", at("10.0.0.1:5432"), tcp("10.0.0.1:5433"), not},
		{"any port", at("10.0.0.1:0"), tcp("10.0.0.1:0"), not},
		{"all, and a socket for both families", all, dual, exactly},
		{"all, and a socket for IPv4", all, tcp("0.0.0.0:5432"), nearly},
		{"all, and a socket for IPv6 alone", all, tcp("[::]:5432"), not},
		{"all, and one address", all, tcp("10.0.0.1:5432"), not},
		{"all of IPv4", at("0.0.0.0:5432"), tcp("0.0.0.0:5432"), exactly},
		{"all of IPv4, and a socket for both families", at("0.0.0.0:5432"), dual, not},
		{"all of IPv6", at("[::]:5432"), tcp("[::]:5432"), exactly},
		{"all of IPv6, and a socket for both families", at("[::]:5432"), dual, not},
		{"a path", splice.Bind{Unix: "/run/db"}, Socket{Unix: "/run/db"}, exactly},
		{"another path", splice.Bind{Unix: "/run/db"}, Socket{Unix: "/run/web"}, not},
		{"a path, and an address", splice.Bind{Unix: "/run/db"}, tcp("10.0.0.1:5432"), not},
		{"an address, and a path", at("10.0.0.1:5432"), Socket{Unix: "/run/db"}, not},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.socket.fits(&tt.listen); got != tt.want {
				t.Errorf("got %v; want %v", got, tt.want)
			}
		})
	}
}

func TestExactFitIsPreferred(t *testing.T) {
	in := inherited{sockets: []Socket{
		{Name: "four", Addr: netip.MustParseAddrPort("0.0.0.0:5432")},
		{Name: "both", Addr: netip.MustParseAddrPort("[::]:5432"), Dual: true},
	}}
	for _, order := range [][]Socket{in.sockets, {in.sockets[1], in.sockets[0]}} {
		in := inherited{sockets: order}
		i := in.find(&splice.Bind{Addr: netip.AddrPortFrom(netip.Addr{}, 5432)})
		if i < 0 || in.sockets[i].Name != "both" {
			t.Errorf("of %v: got %d; want the one for both families", order, i)
		}
	}
}
