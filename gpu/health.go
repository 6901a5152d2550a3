package gpu

// What can be found wrong with a GPU.
const (
	// CodeLost is a GPU that fell off the bus, CodeResetRequired one that does nothing before a reset. Either is its
	// Problem as well.
	CodeLost          = "lost"
	CodeResetRequired = "reset-required"
	// CodeECCUncorrected: memory errors that could not be corrected, since the driver was loaded or the GPU reset.
	CodeECCUncorrected = "ecc-uncorrected"
	// CodeRowRemapPending and CodeRowRemapFailed: bad memory rows that are to be replaced, or could not be.
	CodeRowRemapPending = "row-remap-pending"
	CodeRowRemapFailed  = "row-remap-failed"
	// CodeRetiredPagesPending is the same on cards before Ampere, which give pages up.
	CodeRetiredPagesPending = "retired-pages-pending"
	// CodeFabricNotReady: the GPU has not joined the NVSwitch fabric, without which CUDA does not start.
	CodeFabricNotReady = "fabric-not-ready"
	// CodeComputeProhibited and CodeExclusiveAndBusy: the compute mode lets nobody in, or nobody else.
	CodeComputeProhibited = "compute-prohibited"
	CodeExclusiveAndBusy  = "exclusive-and-busy"
	// CodeRecoveryAction: the driver wants something done before the GPU is used again.
	CodeRecoveryAction = "recovery-action"
)

// Finding is one thing that is wrong with a GPU.
type Finding struct {
	// Code is one of the Code constants.
	Code string `json:"code"`
	// Text is one line that says what was found, with the value.
	Text string `json:"text"`
	// Remedy is one line that says what to do.
	Remedy string `json:"remedy"`
}

// Healthy reports whether nothing is wrong with the GPU, as far as anybody says. MIG instances are as healthy as the
// GPU that they are a part of.
func (d Device) Healthy() bool { return d.Usable() && len(d.Findings) == 0 }
