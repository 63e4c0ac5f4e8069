//go:build unix && !linux

package splice

// pollPeerEnded is Linux's; elsewhere a peer's end is seen once its bytes are read.
const pollPeerEnded = 0
