// Package cli holds what gpulaunch's subcommands share: the flags of a plan, the variables
// that stand for flags, values that flags take, and errors with exit codes. It builds on
// every system.
package cli
