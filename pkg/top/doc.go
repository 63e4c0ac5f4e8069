// Package top is a live view of a running limeload in a terminal: what it moves now,
// its backends, and its sessions, with keys to drain a backend or cut a session.
//
//	poll ──> frame ──> rates (this frame and the one before)
//	                      │
//	keys ──> model <──────┘ ──> view ──> lines of spans ──> terminal
//
// A frame is what one round of requests to the admin API answered. The model is the
// newest frame and what the person looks at; view makes lines of it for a width and a
// height, and is a pure function, so that tests read the screen without a terminal. Every
// change asks first.
//
// The terminal itself is bubbletea's work: raw mode, the alternate screen, and giving both
// back at the end, a panic included. Where standard output is no terminal, Print writes
// one frame as text instead.
package top
