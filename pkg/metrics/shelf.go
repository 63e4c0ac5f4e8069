package metrics

import (
	"slices"
	"sync"
	"time"
)

// keepFor is how long a page waits for the next scrape: longer than scrapers do.
const keepFor = 5 * time.Minute

// shelf has the pages that no scrape uses. The one that was put there last is taken
// first, since the least has changed since then: where scrapes do not overlap there is
// only one page, or one for each form that is compressed. A sync.Pool would have one for
// each processor and lose them when garbage is collected, and a new page makes all of its
// text anew. The zero value works.
type shelf struct {
	mu    sync.Mutex
	pages []*page
}

// take takes a page, or makes one. One that keeps fragments of another form than that
// which is wanted is left for those who want it; foreign if no fragments are wanted.
func (s *shelf) take(kept form) *page {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, p := range slices.Backward(s.pages) {
		if kept == foreign || p.keeps == foreign || p.keeps == kept {
			s.pages = slices.Delete(s.pages, i, i+1)
			p.expiry.Stop()
			return p
		}
	}
	return new(page)
}

// put puts a page back, whose memory goes if nobody takes it in keepFor.
func (s *shelf) put(p *page) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pages = append(s.pages, p)
	p.expiry = time.AfterFunc(keepFor, func() { s.drop(p) })
}

func (s *shelf) drop(p *page) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pages = slices.DeleteFunc(s.pages, func(one *page) bool { return one == p })
}
