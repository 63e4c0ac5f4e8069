// Package client speaks to the admin API of a running limeload, for the operator's
// commands and for other programs.
//
// A Client is an address and perhaps a token; it keeps no state of the server, and
// each method is one request. The types are the API's own, field by field, so that
// what is read can be written again as JSON without a loss; a test in cmd/limeload
// holds them to the server's description. Durations are seconds, sizes are bytes.
//
// Errors are made for the person at the terminal. What the server refuses is an
// *Error, whose text is what the server says; that nobody answers is an
// *Unreachable, whose text names the address that was tried and what to do.
//
// A Client does not retry.
package client
