package gpu

import "time"

// The kinds of events. Only an XID has a number.
const (
	KindXID              = "xid"
	KindDoubleBitECC     = "double-bit-ecc"
	KindRetirement       = "dram-retirement"
	KindRetirementFailed = "dram-retirement-failure"
	KindNonFatalPoison   = "non-fatal-poison"
	KindFatalPoison      = "fatal-poison"
	KindGPUUnavailable   = "gpu-unavailable"
	KindRecoveryAction   = "gpu-recovery-action"
	// KindDropped stands for events of a GPU that came in too great a variety to be told apart.
	KindDropped = "dropped"
)

// XIDEvent is something that happened to a GPU, Count times in a short while.
type XIDEvent struct {
	// Time is that of the first.
	Time time.Time `json:"time"`
	// UUID and Index are the GPU's, Index -1 and UUID "" for one that is not in the inventory.
	UUID  string `json:"uuid"`
	Index int    `json:"index"`
	// MIG is the UUID of the MIG instance that it happened to, or "" for the whole GPU or where that cannot be told.
	MIG string `json:"mig,omitempty"`
	// Kind is one of the Kind constants, or what NVML calls its type.
	Kind string `json:"kind"`
	// XID is the driver's error number, 0 for other kinds. [DescribeXID] knows what it means.
	XID uint64 `json:"xid,omitempty"`
	// Count is at least 1.
	Count uint64 `json:"count"`
}
