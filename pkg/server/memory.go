package server

import (
	"context"
	"io"
	"math"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// memoryEvery is how often memory is looked at. At 20 000 new sessions per second,
// each with less than a kilobyte, 2 MB come together in that time.
const memoryEvery = 100 * time.Millisecond

// collectEvery is how often garbage is collected and given back while clients are
// refused: without clients nothing else might ask for that, and so for the end of it.
const collectEvery = 5 * time.Second

// memory tells what the process uses.
type memory interface {
	// used is in bytes.
	used() (int64, error)
	io.Closer
}

// openMemory opens the system's own count, or else takes the runtime's. It may be too
// late for the system's when files are restricted.
func (s *Server) openMemory() memory {
	m, err := openResident()
	if err != nil {
		s.log.Warn().Err(err).Msg("memory is counted by the Go runtime, not by the system")
		return runtimeMemory{}
	}
	return m
}

// runMemoryWatch notes what memory is used until ctx ends.
func (s *Server) runMemoryWatch(ctx context.Context) {
	defer s.memory.Close()
	tick := time.NewTicker(memoryEvery)
	defer tick.Stop()
	var collected time.Time
	for {
		if s.ceiling.Near() && time.Since(collected) >= collectEvery {
			debug.FreeOSMemory()
			collected = time.Now()
		}
		used, err := s.memory.used()
		if err != nil {
			used, _ = runtimeMemory{}.used()
		}
		if s.ceiling.Watch(used) {
			s.log.Warn().Int64("used", used).Int64("limit", s.ceiling.Limit()).
				Bool("refusing", s.ceiling.Near()).Msg("memory limit")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// runtimeMemory is what the runtime has of the system and has not given back: what
// debug.SetMemoryLimit bounds. Some of it may never have been touched, and what is not
// the runtime's is missing.
type runtimeMemory struct{}

func (runtimeMemory) used() (int64, error) {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return int64(samples[0].Value.Uint64() - samples[1].Value.Uint64()), nil
}

func (runtimeMemory) Close() error { return nil }

// currentMemoryLimit is what GOMEMLIMIT says, or that there is none.
func currentMemoryLimit() int64 {
	if n := debug.SetMemoryLimit(-1); n > 0 {
		return n
	}
	return math.MaxInt64
}
