package proxy

import (
	"sync"
	"sync/atomic"
)

// roster has the sessions of a listener, those of live clients and those that wait
// for the next one. A session's place never moves and is never given back, so that
// each can look at all of them while clients come and go; the memory is that of the
// most clients there have been at one time.
//
// Idle sessions are a stack without a lock, so that no loop ever waits for another
// one. Its head is the number of the top session, from 1 on, and above it a count of
// takes: by that, a take that was overtaken by others notices, even where the same
// session is on top again.
type roster struct {
	idle    atomic.Uint64 // count<<32 | number; number 0: none
	chunks  atomic.Pointer[[]*chunk]
	growing sync.Mutex
}

type chunk [64]session

// at finds a session by its number.
func (r *roster) at(number uint32) *session {
	n := int(number - 1)
	return &(*r.chunks.Load())[n/len(chunk{})][n%len(chunk{})]
}

// take answers an idle session.
func (r *roster) take() *session {
	for {
		head := r.idle.Load()
		if uint32(head) == 0 {
			r.grow()
			continue
		}
		s := r.at(uint32(head))
		if r.idle.CompareAndSwap(head, (head>>32+1)<<32|uint64(s.next.Load())) {
			return s
		}
	}
}

// give takes a session back.
func (r *roster) give(s *session) {
	for {
		head := r.idle.Load()
		s.next.Store(uint32(head))
		if r.idle.CompareAndSwap(head, head>>32<<32|uint64(s.number)) {
			return
		}
	}
}

// grow adds a chunk of idle sessions, if there still is none.
func (r *roster) grow() {
	r.growing.Lock()
	defer r.growing.Unlock()
	if uint32(r.idle.Load()) != 0 {
		return
	}
	var chunks []*chunk
	if old := r.chunks.Load(); old != nil {
		chunks = *old
	}
	added := new(chunk)
	chunks = append(chunks, added) // beyond what others see of the old ones
	r.chunks.Store(&chunks)
	for i := range added {
		added[i].number = uint32((len(chunks)-1)*len(added) + i + 1)
		r.give(&added[i])
	}
}

// each calls f with every session, of live clients and idle ones.
func (r *roster) each(f func(*session)) {
	chunks := r.chunks.Load()
	if chunks == nil {
		return
	}
	for _, c := range *chunks {
		for i := range c {
			f(&c[i])
		}
	}
}
