package healthcheck

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"io"
	"net"
	"testing"
)

// sha2Server is a MySQL 8 server as far as a login by caching_sha2_password goes, which
// no server that Debian has can do: with a cached password by its hash, else by the
// password itself, encrypted with the server's key.
type sha2Server struct {
	t        *testing.T
	password string
	cached   bool
	key      *rsa.PrivateKey
	scramble []byte // 20 bytes
	from     byte   // the sequence number of the last packet that was read
	conn     net.Conn
}

func (s *sha2Server) serve(c net.Conn) {
	s.conn = c
	s.send(0, "\n8.4.0\x00\x01\x00\x00\x00"+string(s.scramble[:8])+"\x00"+"\x00\x82\xff\x02\x00\x08\x00\x15"+
		"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"+string(s.scramble[8:])+"\x00caching_sha2_password\x00")
	login := s.receive()
	if len(login) == 0 || !s.logIn(login) {
		s.answer("\xff\x15\x04#28000Access denied for user 'probe'")
		return
	}
	s.answer(mysqlOKBody)
	for query := s.receive(); len(query) > 1; query = s.receive() {
		s.answer("\x01")
		s.answer("\x03def\x00\x00\x00\x09read_only\x00\x0c\x3f\x00\x01\x00\x00\x00\x08\x00\x00\x00\x00\x00")
		s.answer("\xfe\x00\x00\x02\x00")
		s.answer("\x010")
		s.answer("\xfe\x00\x00\x02\x00")
	}
}

// logIn judges the hash in a login, and asks for the password if it is not cached.
func (s *sha2Server) logIn(login []byte) bool {
	_, rest, _ := bytes.Cut(login[32:], []byte{0}) // the user
	first := sha256.Sum256([]byte(s.password))
	second := sha256.Sum256(first[:])
	mask := sha256.Sum256(append(second[:], s.scramble...))
	for i := range mask {
		mask[i] ^= first[i]
	}
	if s.cached {
		if len(rest) < 33 || !bytes.Equal(rest[1:33], mask[:]) {
			return false
		}
		s.answer("\x01\x03")
		return true
	}
	s.answer("\x01\x04")
	if ask := s.receive(); !bytes.Equal(ask, []byte{2}) {
		return false
	}
	der, err := x509.MarshalPKIXPublicKey(&s.key.PublicKey)
	if err != nil {
		s.t.Error(err)
	}
	s.answer("\x01" + string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
	plain, err := rsa.DecryptOAEP(sha1.New(), nil, s.key, s.receive(), nil)
	if err != nil {
		return false
	}
	for i := range plain {
		plain[i] ^= s.scramble[i%len(s.scramble)]
	}
	return string(plain) == s.password+"\x00"
}

func (s *sha2Server) receive() []byte {
	var head [4]byte
	if _, err := io.ReadFull(s.conn, head[:]); err != nil {
		return nil
	}
	s.from = head[3]
	head[3] = 0
	body := make([]byte, binary.LittleEndian.Uint32(head[:]))
	io.ReadFull(s.conn, body)
	return body
}

// answer sends the packet that follows the last one.
func (s *sha2Server) answer(body string) {
	s.from++
	s.send(s.from, body)
}

func (s *sha2Server) send(sequence byte, body string) {
	io.WriteString(s.conn, mysqlPacket(sequence, body))
}

func TestMySQLCachingSHA2(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		cached   bool
		password string
		want     verdict
	}{
		{"cached", true, "right", good},
		{"not cached", false, "right", good},
		{"cached, wrong password", true, "wrong", verdict{Down, ReasonAuth, "1045: Access denied"}},
		{"not cached, wrong password", false, "wrong", verdict{Down, ReasonAuth, "1045: Access denied"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &sha2Server{t: t, password: "right", cached: c.cached, key: key, scramble: []byte("abcdefghijklmnopqrst")}
			address := stage(t, play{then: s.serve}, false)
			r := ask(t, &MySQL{DB: DB{User: "probe", Password: secret(c.password), Role: "primary"}}, address)
			c.want.check(t, r)
		})
	}
}
