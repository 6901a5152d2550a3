// Package process reads what /proc says of processes, signals them safely, and ends the descendants
// of this process.
package process
