//go:build !race

package chaos

// raceDetector says that this binary has it.
const raceDetector = false
