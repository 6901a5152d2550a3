// Package doctor checks whether a job would start well on this machine, and says what to do where it would not.
//
// [Gather] reads the facts and judges nothing; [Examine] judges them and reads nothing. So a test can describe any
// machine, and a fact that could not be read is told from a good one: it gives [Unknown], never [OK].
//
// Only [Fail] means that a job would not start, or would start on a GPU that cannot be relied on. [Warn] is what would
// make it slow, fragile, or other than expected.
package doctor
