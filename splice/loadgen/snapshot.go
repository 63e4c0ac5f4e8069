package loadgen

// Phase is how far a run has come.
type Phase uint8

const (
	Opening   Phase = iota // connections are being opened
	Warming                // the load is on, and not measured yet
	Measuring              // in the window
	Ending                 // the window is over; connections end
)

func (p Phase) String() string {
	return [...]string{"opening", "warming up", "measuring", "ending"}[p]
}

// Snapshot is the state of a run at one moment. Its counts are from the start of the
// run.
type Snapshot struct {
	Phase      Phase
	Open       int // connections; idle ones count when their first message is back
	Operations uint64
	BytesUp    uint64
	BytesDown  uint64
	Errors     uint64
	// Behind is how many operations of an open loop were due and have not begun.
	Behind uint64
}
