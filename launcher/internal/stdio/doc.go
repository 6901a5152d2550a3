// Package stdio carries what workers read and write.
//
// An [Output] copies the pipes of an attempt's workers to two [Sink]s, line by line, each
// line with its worker's name in front, and remembers the last lines of each standard error
// in a [Tail]. An [Input] hands the launcher's own standard input to one worker.
//
// Goroutines: an Output has one per pipe, which ends when the pipe's last writer is gone
// or, after Cut, when the pipe stays silent. An Input on a terminal has one that reads the
// terminal until its end of file or the end of this process.
package stdio
