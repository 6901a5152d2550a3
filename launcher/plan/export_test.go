package plan

// InUse makes inUse available to the external tests.
var InUse = inUse
