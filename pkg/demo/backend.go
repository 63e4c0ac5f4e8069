package demo

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
)

// greeting is what a backend says before its name, at once.
const greeting = "hello from "

// backend is a server that tells its name, and then answers every line: a number with
// that many bytes, anything else with itself.
type backend struct {
	name string
	addr string // stays the same over stops and starts

	mu    sync.Mutex
	ln    net.Listener // nil while stopped
	conns map[net.Conn]struct{}
}

func startBackends() ([]*backend, error) {
	var all []*backend
	for _, name := range names {
		b := &backend{name: name, addr: "127.0.0.1:0", conns: map[net.Conn]struct{}{}}
		if err := b.start(); err != nil {
			closeAll(all)
			return nil, err
		}
		all = append(all, b)
	}
	return all, nil
}

func closeAll(backends []*backend) {
	for _, b := range backends {
		b.stop()
	}
}

func (b *backend) running() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ln != nil
}

func (b *backend) start() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	ln, err := net.Listen("tcp", b.addr)
	if err != nil {
		return err
	}
	b.ln, b.addr = ln, ln.Addr().String()
	go b.accept(ln)
	return nil
}

// stop closes the listener and every connection, as a crash would.
func (b *backend) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ln == nil {
		return
	}
	b.ln.Close()
	b.ln = nil
	for c := range b.conns {
		c.Close()
	}
}

func (b *backend) accept(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go b.serve(c)
	}
}

func (b *backend) serve(c net.Conn) {
	b.mu.Lock()
	b.conns[c] = struct{}{}
	b.mu.Unlock()
	defer func() {
		c.Close()
		b.mu.Lock()
		delete(b.conns, c)
		b.mu.Unlock()
	}()
	io.WriteString(c, greeting+b.name+"\n")
	for lines := bufio.NewScanner(c); lines.Scan(); {
		if _, err := c.Write(answer(lines.Text())); err != nil {
			return
		}
	}
}

// filler is what numbers are answered with.
var filler = bytes.Repeat([]byte("lime"), answerAtMost/4)

func answer(line string) []byte {
	if n, err := strconv.Atoi(strings.TrimSpace(line)); err == nil && n >= 0 && n <= len(filler) {
		return filler[:n]
	}
	return []byte(line + "\n")
}
