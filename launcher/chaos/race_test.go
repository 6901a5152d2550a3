//go:build race

package chaos

// raceDetector reports whether this binary was built with the race detector.
const raceDetector = true
