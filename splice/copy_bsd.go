//go:build unix && !linux

package splice

// pollPeerEnded is Linux's; elsewhere a peer's end is seen once its bytes are read.
const pollPeerEnded = 0

// pending cannot be told: a turn is then reserved for a whole buffer.
func (r *reader) pending() int { return len(buffer{}) }
