package splice

import (
	"time"

	"github.com/limeload/limeload/splice/internal/sys"
)

// path asks the kernel, for one session in pathEvery, how the connection to the
// backend was.
func (l *loop) path(p *pair, now int64) (seen Path) {
	if now < l.pathAt || p.unix[backend] {
		return Path{}
	}
	l.pathAt = now + int64(pathEvery)
	rtt, retransmits, e := sys.Path(p.ends[backend].fd)
	if e != 0 {
		return Path{}
	}
	return Path{RTT: time.Duration(rtt) * time.Microsecond, Retransmits: retransmits}
}
