//go:build linux && !race

package main_test

// raceDetector says whether limeload is to be built as this test was.
const raceDetector = false
