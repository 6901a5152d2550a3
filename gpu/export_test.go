package gpu

// LeadingInteger is leadingInteger, for the external tests.
var LeadingInteger = leadingInteger
