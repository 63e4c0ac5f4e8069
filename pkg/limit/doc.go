// Package limit counts what clients take and says when it is too much: how many
// connections a source has (Sources), how fast new ones come (Bucket), and whether
// the process is near the memory that it may use (Ceiling).
//
//	Rate, Quota      what is allowed: plain values, part of a configuration
//	Bucket, Sources  what was taken: counts that outlive configurations
//
// A limit is given with each call, so that another one holds from that call on, over
// the same counts. Nothing here waits, sleeps or reads a clock but Now: times are
// nanoseconds that the caller passes in.
package limit
