package plan

// InUse is inUse, for the external tests.
var InUse = inUse
