// Package doctor checks whether a job would start well on this machine, and says what to do if it
// would not.
//
// Call [Gather] to read the facts and [Examine] to judge them, then print each [Result], or call
// [Ready] if a yes or no is enough. Gather makes no judgements and Examine reads nothing, so a test
// can describe any machine. A fact that could not be read gives [Unknown], never [OK].
//
// [Fail] means that a job would not start, or that it would start on a GPU that is not reliable.
// [Warn] means that a job would start, but that it could be slow, fragile, or not what the user
// expects.
package doctor
