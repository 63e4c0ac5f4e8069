//go:build !race

package splicetest

// raceDetector says whether the suite has to be smaller.
const raceDetector = false
