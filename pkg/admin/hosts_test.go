package admin

import (
	"net/http"
	"strings"
	"testing"

	"github.com/limeload/limeload/pkg/config"
)

func TestHosts(t *testing.T) {
	named := config.AdminListen{Address: config.Address{Network: config.TCP, Host: "Admin.Internal.", Port: 5480}}
	for _, test := range []struct {
		name, host string
		want       bool
	}{
		{"no host", "", true},
		{"an IPv4 address", "10.0.0.5", true},
		{"an IPv4 address and a port", "10.0.0.5:5480", true},
		{"an IPv6 address", "[fd00::1]", true},
		{"an IPv6 address and a port", "[fd00::1]:5480", true},
		{"localhost", "localhost", true},
		{"localhost in capitals, a dot and a port", "LOCALHOST.:5480", true},
		{"a name that was allowed", "lb1", true},
		{"one with a port", "lb1.example.net:5480", true},
		{"one in other letters and with a dot", "LB1.Example.NET.:80", true},
		{"the name that is listened on", "admin.internal:5480", true},
		{"a foreign name", "evil.example", false},
		{"a foreign name and a port", "evil.example:5480", false},
		{"a name within one that was allowed", "evil.lb1.example.net", false},
		{"a name that begins as one that was allowed", "lb1.example.net.evil.example", false},
		{"a name within localhost", "evil.localhost", false},
		{"a name that looks like an address", "127.0.0.1.evil.example", false},
		{"brackets around a foreign name", "[evil.example]:5480", false},
		{"ports", "lb1:1:2", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			hosts := newHostList(named, []config.HostName{"lb1", "lb1.example.net"}, false)
			if got := hosts.allow(test.host); got != test.want {
				t.Errorf("got %v; want %v", got, test.want)
			}
			if !newHostList(config.AdminListen{}, nil, true).allow(test.host) {
				t.Error("on a unix socket: got false; want true")
			}
		})
	}
}

// Who is refused reads what to write where.
func TestForeignHostIsToldTheKey(t *testing.T) {
	r := newRig(t, Options{}, false)
	status, body := r.call(t, "GET", "/api/v1/status", "", "Host", "lb1:5480")
	if status != http.StatusMisdirectedRequest || !strings.Contains(body, "[admin] hosts") {
		t.Errorf("got %d %s; want 421 that names the key", status, body)
	}
}
