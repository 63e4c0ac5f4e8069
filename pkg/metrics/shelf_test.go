package metrics

import (
	"bytes"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestShelf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s shelf
		a, b := s.take(), s.take()
		if a == b {
			t.Fatal("two scrapes at one time got the same page")
		}
		s.put(a)
		s.put(b)
		if got := s.take(); got != b {
			t.Error("got an older page; want the one that was put back last")
		}
		time.Sleep(keepFor - time.Second)
		s.put(b) // while a is still there
		time.Sleep(2 * time.Second)
		if got := s.take(); got != b {
			t.Error("got a new page; want the one that was put back two seconds ago")
		}
		if got := s.take(); got == a {
			t.Errorf("got a page that was left alone for more than %v; want a new one", keepFor)
		}
		s.put(b)
		time.Sleep(keepFor + time.Second)
		if got := s.take(); got == b || len(s.pages) > 0 {
			t.Errorf("got a page that was left alone for more than %v; want a new one", keepFor)
		}
	})
}

// Scrapes at one time, each with a page of its own, are whole each.
func TestScrapesAtOneTime(t *testing.T) {
	h := Handler(two(t), Build{Version: "test"})
	var all sync.WaitGroup
	for range maxScrapes {
		all.Go(func() {
			for range 20 {
				_, body := ask(t, h, openMetricsFormat, "gzip")
				if text := unzipped(t, body); !bytes.HasSuffix(text, []byte("# EOF\n")) {
					t.Errorf("a scrape of %d bytes ended without # EOF", len(text))
				}
			}
		})
	}
	all.Wait()
}
