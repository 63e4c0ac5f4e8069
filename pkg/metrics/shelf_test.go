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
		a, b := s.take(foreign), s.take(foreign)
		if a == b {
			t.Fatal("two scrapes at one time got the same page")
		}
		s.put(a)
		s.put(b)
		if got := s.take(foreign); got != b {
			t.Error("got an older page; want the one that was put back last")
		}
		time.Sleep(keepFor - time.Second)
		s.put(b) // while a is still there
		time.Sleep(2 * time.Second)
		if got := s.take(foreign); got != b {
			t.Error("got a new page; want the one that was put back two seconds ago")
		}
		if got := s.take(foreign); got == a {
			t.Errorf("got a page that was left alone for more than %v; want a new one", keepFor)
		}
		s.put(b)
		time.Sleep(keepFor + time.Second)
		if got := s.take(foreign); got == b || len(s.pages) > 0 {
			t.Errorf("got a page that was left alone for more than %v; want a new one", keepFor)
		}
	})
}

// A scrape leaves what another format keeps to those who scrape that.
func TestShelfByForm(t *testing.T) {
	var s shelf
	put := func(keeps form) *page {
		p := &page{keeps: keeps}
		s.put(p)
		return p
	}
	text, binary := put(openMetrics), put(protobuf)
	if got := s.take(openMetrics); got != text {
		t.Errorf("got a page that keeps form %d; want that of OpenMetrics", got.keeps)
	}
	if got := s.take(openMetrics); got == binary {
		t.Error("got the page of protobuf for OpenMetrics; want a new one")
	}
	if got := s.take(foreign); got != binary {
		t.Error("got a new page where nothing is kept; want the one on the shelf")
	}
	if fresh := put(foreign); s.take(protobuf) != fresh {
		t.Error("got a new page; want the one that keeps nothing yet")
	}
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
