package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Default stands for the socket that a server without another setting listens on.
const Default = "default"

// systemSocket is the default socket of a server that runs as root, or as a service of
// systemd by that name.
const systemSocket = "/run/limeload/admin.sock"

// DefaultSocket is the path of the default socket, found as the server finds it: in
// the directory that systemd made for the service, else the system's for root, else
// the user's own. It is empty where there is none of them.
func DefaultSocket() string {
	switch {
	case os.Getenv("RUNTIME_DIRECTORY") != "":
		first, _, _ := strings.Cut(os.Getenv("RUNTIME_DIRECTORY"), ":") // systemd.exec(5)
		return filepath.Join(first, "admin.sock")
	case os.Geteuid() == 0:
		return systemSocket
	case os.Getenv("XDG_RUNTIME_DIR") != "":
		return filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "limeload", "admin.sock")
	}
	return ""
}

// dialTimeout is how long a connect may take: who does not answer by then is not there.
const dialTimeout = 5 * time.Second

// endpoint is where the API is.
type endpoint struct {
	shown  string // as a person writes it
	base   string // what URLs begin with, without a slash at the end
	socket string // path of a unix socket; "" for TCP
}

// parseAddress reads "default", unix:/path, host:port, http://host:port or https://host:port.
func parseAddress(text string) (endpoint, error) {
	if text == Default {
		path := DefaultSocket()
		if os.Getenv("RUNTIME_DIRECTORY") == "" { // which would be somebody's choice
			path = existing(path, systemSocket)
		}
		if path == "" {
			return endpoint{}, errors.New("admin address: there is no default socket without XDG_RUNTIME_DIR; say where with --admin")
		}
		return unixEndpoint(path), nil
	}
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		if path == "" {
			return endpoint{}, fmt.Errorf("admin address %q: want unix:/path", text)
		}
		return unixEndpoint(path), nil
	}
	if strings.HasPrefix(text, "http://") || strings.HasPrefix(text, "https://") {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return endpoint{}, fmt.Errorf("admin address %q: want http://host:port", text)
		}
		return endpoint{shown: text, base: strings.TrimRight(text, "/")}, nil
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil || port == "" {
		return endpoint{}, fmt.Errorf("admin address %q: want host:port, unix:/path, http://host:port or %s", text, Default)
	}
	if host == "" {
		host = "localhost" // :5480, as it stands in the server's configuration
	}
	return endpoint{shown: text, base: "http://" + net.JoinHostPort(host, port)}, nil
}

// existing is own, or the system's socket where that alone exists: a user without a server
// of their own means the machine's, and is told if they may not use it.
func existing(own, system string) string {
	if _, err := os.Stat(own); err == nil {
		return own
	}
	if _, err := os.Stat(system); err == nil {
		return system
	}
	return own
}

func unixEndpoint(path string) endpoint {
	return endpoint{shown: "unix:" + path, base: "http://localhost", socket: path}
}

// dial connects to e instead of the address that a URL has.
func (e *endpoint) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	if e.socket != "" {
		return d.DialContext(ctx, "unix", e.socket)
	}
	return d.DialContext(ctx, network, address)
}
