// Package stdio passes on what workers read and write.
//
// An [Output] copies the pipes of an attempt's workers to two [Sink]s, line by line, with the name
// of the worker before each line. It remembers the last lines of each standard error in a [Tail].
// An [Input] passes the launcher's own standard input to one worker.
//
// # Goroutines
//
// An Output has one goroutine for each pipe. It ends when no process has the pipe open for writing
// any more or, after Cut, when the pipe is silent. An Input that is a terminal has one goroutine.
// It reads the terminal until the end of file or the end of this process.
package stdio
