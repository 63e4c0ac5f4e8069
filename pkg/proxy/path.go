package proxy

import "github.com/limeload/limeload/splice"

// saw counts how a session found the way to the backend, if that was looked at.
func (t *Target) saw(p splice.Path) {
	if p.RTT == 0 {
		return
	}
	t.PathsSeen.Add(1)
	t.RTT.Add(int64(p.RTT))
	t.Retransmits.Add(uint64(p.Retransmits))
}
