package proxy

import (
	"errors"
	"syscall"

	"github.com/limeload/limeload/splice"
)

// Cause is why an attempt to connect failed, where the backend or the way to it is at
// fault.
type Cause uint8

const (
	CauseOther       Cause = iota // none of these
	CauseRefused                  // nobody listens there
	CauseTimeout                  // no answer in time
	CauseUnreachable              // no way leads there
	CauseReset                    // the connection was cut while it was made
	CauseDNS                      // the host name has no address yet

	NumCauses = iota // how many there are
)

var causeNames = [NumCauses]string{"other", "refused", "timeout", "unreachable", "reset", "dns"}

// String is the cause's name in metrics and the API. Probes use the same words.
func (c Cause) String() string {
	if c < NumCauses {
		return causeNames[c]
	}
	return "invalid"
}

// causes are the answers of the network and of the other machine (connect(2), ip(7),
// unix(7)).
var causes = []struct {
	err   error
	cause Cause
}{
	{errUnresolved, CauseDNS},
	{syscall.ECONNREFUSED, CauseRefused},
	{splice.ErrSelfConnect, CauseRefused},
	{syscall.ENOENT, CauseRefused},     // unix: no such socket
	{syscall.EPROTOTYPE, CauseRefused}, // unix: a socket, but not of streams
	{splice.ErrDialTimeout, CauseTimeout},
	{syscall.ETIMEDOUT, CauseTimeout},
	{syscall.EHOSTUNREACH, CauseUnreachable},
	{syscall.ENETUNREACH, CauseUnreachable},
	{syscall.EHOSTDOWN, CauseUnreachable},
	{syscall.ENETDOWN, CauseUnreachable},
	{syscall.EAFNOSUPPORT, CauseUnreachable}, // IPv6 is off here
	{syscall.ECONNRESET, CauseReset},
	{syscall.ECONNABORTED, CauseReset},
	{syscall.EPIPE, CauseReset},
}

// causeOf names why a dial failed.
func causeOf(err error) Cause {
	for i := range causes {
		if errors.Is(err, causes[i].err) {
			return causes[i].cause
		}
	}
	return CauseOther
}
