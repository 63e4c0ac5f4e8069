package server

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/limeload/limeload/pkg/config"
)

// No way of writing it lets a backend be what this process listens on itself.
func TestOwnListenerIsNoBackend(t *testing.T) {
	dir := t.TempDir()
	api, err := net.Listen("unix", filepath.Join(dir, "admin.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	if err := os.Symlink(dir, dir+"-by-another-name"); err != nil {
		t.Fatal(err)
	}
	page, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer page.Close()
	conf := setup{listen: "0.0.0.0:0", backends: []string{newEcho(t, "127.0.0.1:0").Addr().String()}}
	s := start(t, conf.config(t))
	s.Reserve(api.Addr())
	s.Reserve(page.Addr())
	port := s.Addr("front").Port()
	for _, address := range []string{
		fmt.Sprintf("127.0.0.1:%d", port),
		fmt.Sprintf("127.0.0.2:%d", port),
		fmt.Sprintf("localhost:%d", port),
		fmt.Sprintf("%s:%d", foreignAddress(t), port),
		page.Addr().String(),
		strings.Replace(page.Addr().String(), "127.0.0.1", "localhost", 1),
		"unix:" + api.Addr().String(),
		"unix:" + dir + "-by-another-name/admin.sock",
	} {
		t.Run(address, func(t *testing.T) {
			err := s.AddBackend(t.Context(), "pool", config.Backend{Address: addressOf(t, address)})
			if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "our own listeners") {
				t.Errorf("got %v; want it refused as our own", err)
			}
		})
	}
	for _, address := range []string{fmt.Sprintf("127.0.0.1:%d", port^1), fmt.Sprintf("[::1]:%d", port), "unix:" + dir + "/other.sock"} {
		if err := s.suitable(t.Context(), addressOf(t, address)); err != nil {
			t.Errorf("%s: got %v; want none, as that is somebody else", address, err)
		}
	}
}

// foreignAddress is an address by which others reach this machine, or one of its loopback
// where it has none.
func foreignAddress(t *testing.T) string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	return "127.0.0.3"
}

// A host name is no way around, for it is what it stands for.
func TestNameOfWhatIsNoBackend(t *testing.T) {
	s, _, _, _ := twoBackends(t)
	for name, want := range map[string]string{"169.254.169.254:80": "link-local", "0.0.0.0:80": "no host"} {
		if err := s.suitable(t.Context(), addressOf(t, name)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v; want %q", name, err, want)
		}
	}
	if err := s.suitable(t.Context(), addressOf(t, "nowhere.invalid:80")); err != nil {
		t.Errorf("a name that nobody knows: got %v; want none, it has no address yet", err)
	}
}

// What a person is told names what they wrote, and no place in a file that has none of it.
func TestRefusalOfABackendNamesItsKey(t *testing.T) {
	s, _, _, _ := twoBackends(t)
	for _, test := range []struct {
		b    config.Backend
		want string
	}{
		{config.Backend{Address: addressOf(t, "10.0.0.1:80"), Weight: 300}, "refused: weight: 300 is out of range 0..256"},
		{config.Backend{Address: addressOf(t, ":80"), Weight: 1}, `refused: address: ":80" has no host; want host:port`},
		{config.Backend{Address: addressOf(t, "10.0.0.1:80"), Name: "a b"}, `refused: name: "a b" is not a name`},
	} {
		if err := s.AddBackend(t.Context(), "pool", test.b); err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("got %v; want %s", err, test.want)
		}
	}
}
