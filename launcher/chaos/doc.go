// Package chaos contains only tests. They do random and chosen damage to running jobs, and check
// that no process of a job outlives the launcher and that the exit status is the documented one.
package chaos
