// Package chaos holds tests only: that nothing of a job outlives the launcher,
// whatever happens to either of them.
package chaos
