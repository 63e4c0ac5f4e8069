//go:build race

package splicetest

// raceDetector makes the suite smaller, since everything is ten times slower.
const raceDetector = true
