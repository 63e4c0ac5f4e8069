package limit

import "sync/atomic"

// Ceiling says whether the process is near the memory that it may use. It begins to
// say so at 15/16 of the limit and stops at 14/16, so that it does not flutter. The
// zero value has no limit. Any goroutine may ask; one watches.
type Ceiling struct {
	limit atomic.Int64
	near  atomic.Bool
}

// SetLimit changes the limit, in bytes; 0 is none.
func (c *Ceiling) SetLimit(bytes int64) {
	c.limit.Store(bytes)
	if bytes == 0 {
		c.near.Store(false)
	}
}

// Limit is in bytes; 0 is none.
func (c *Ceiling) Limit() int64 { return c.limit.Load() }

// Near tells whether the last Watch was too close. A nil Ceiling is never near.
func (c *Ceiling) Near() bool { return c != nil && c.near.Load() }

// Watch notes what is used now, in bytes, and reports whether Near has changed.
func (c *Ceiling) Watch(used int64) (changed bool) {
	limit, was := c.limit.Load(), c.near.Load()
	is := limit > 0 && (used >= limit/16*15 || was && used >= limit/16*14)
	c.near.Store(is)
	return is != was
}
