// Package loadgen makes TCP load and is the server at its other end.
//
// [Start] drives any number of connections in one of a few ways (see [Mode]),
// measures throughput and latency in a window that begins when all of them are
// open, and verifies the bytes that come back. [Listen] answers: it echoes, swallows
// or makes bytes.
//
// The model: a few threads, each with an epoll instance of its own and a fixed
// share of the connections. Nothing is shared between threads but counters, nothing
// is allocated per operation, and bytes are made and verified by comparing them with
// slices of one table, so that the generator costs less than what it measures.
//
// # What goes over the wire
//
// The first byte that a client sends chooses what the server does (see [Role]). To
// upload or download the client sends four bytes: the role and, little-endian in
// three bytes, the phase, which is the place in the table where the stream of bytes
// begins. Every connection has a phase of its own, so bytes that reach the wrong
// connection are found out. A server that took an upload answers its end with
// sixteen bytes: how many bytes came after the four, and how many reads held wrong
// ones, both little-endian. To echo, the role is simply the first byte of the first
// message and comes back with it, so that any echo server will do.
//
// # Latency
//
// An operation's latency begins when it was due. In a closed loop (no rate) that is
// when the connection's previous operation ended. In an open loop it is the time in
// the schedule, whether or not a connection was free then: an operation that had to
// wait for the answers to earlier ones carries that wait, and one that is given up
// (Options.Timeout), or not done when the window ends, counts with the time it has
// waited. So a server that stalls cannot hide it by slowing its clients down
// ("coordinated omission").
//
// Linux only: elsewhere Start and Listen answer errors.ErrUnsupported.
package loadgen
