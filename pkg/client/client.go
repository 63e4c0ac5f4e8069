package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// maxAnswer bounds what is read of one answer, in bytes: ten thousand backends take
// about 6 MB, and who answers on that address need not be limeload.
const maxAnswer = 256 << 20

// Options say where the API is.
type Options struct {
	// Address is "default", unix:/path, host:port, http://host:port or
	// https://host:port; empty means "default".
	Address string
	// TokenFile holds the bearer token; empty sends none.
	TokenFile string
	// Timeout is how long one request may take, 0 for as long as its context lasts.
	// Streams have none.
	Timeout time.Duration
}

// Client speaks to one server. Its methods may be called at the same time.
type Client struct {
	at      endpoint
	token   string
	timeout time.Duration
	http    http.Client
}

// New makes a Client; it connects to nothing yet.
func New(o Options) (*Client, error) {
	if o.Address == "" {
		o.Address = Default
	}
	at, err := parseAddress(o.Address)
	if err != nil {
		return nil, err
	}
	token, err := readToken(o.TokenFile)
	if err != nil {
		return nil, err
	}
	c := &Client{at: at, token: token, timeout: o.Timeout}
	c.http.Transport = &http.Transport{DialContext: c.at.dial, MaxIdleConnsPerHost: 2}
	// A token is for the address that the person gave, and for no other.
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c, nil
}

// Address is where the API is, as a person writes it.
func (c *Client) Address() string { return c.at.shown }

// Close gives idle connections back.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func readToken(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("token file: %w", err)
	}
	token := strings.TrimSpace(string(b))
	switch {
	case token == "":
		return "", fmt.Errorf("token file: %s is empty", path)
	case strings.ContainsAny(token, "\r\n"):
		return "", fmt.Errorf("token file: %s has more than one line", path)
	}
	return token, nil
}

// resource is the path of a resource: its names, each as one segment.
func resource(names ...string) string {
	var b strings.Builder
	b.WriteString("/api/v1")
	for _, n := range names {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(n))
	}
	return b.String()
}

// open makes a request; what is answered is the caller's to close. An answer that is
// none of success is an error.
func (c *Client) open(ctx context.Context, method, path string, query url.Values, in any, accept string) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	at := c.at.base + path
	if len(query) > 0 {
		at += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, at, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if res.StatusCode/100 != 2 {
		defer res.Body.Close()
		return nil, c.refused(res)
	}
	return res, nil
}

// do makes a request and reads the answer into out, unless that is nil.
func (c *Client) do(ctx context.Context, method, path string, query url.Values, in, out any) error {
	if c.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	res, err := c.open(ctx, method, path, query, in, "application/json")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if out == nil {
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return c.unreachable(ctx, err)
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("%s: what answers is not limeload's admin API: %w", c.at.shown, err)
	}
	return nil
}

func (c *Client) get(ctx context.Context, path string, query url.Values, out any) error {
	return c.do(ctx, http.MethodGet, path, query, nil, out)
}
