// Package splice moves bytes between clients and backends. It knows sockets,
// pipes and time, and nothing of configuration, pools, logs or metrics: it makes
// three calls upward per connection (Handler.Open, Session.Dial, Session.Close),
// addresses come down, and a Result goes up.
package splice
