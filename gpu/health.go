package gpu

// The codes of findings.
const (
	// CodeLost means that the GPU fell off the bus, and CodeResetRequired that it does nothing
	// before it is reset. Such a GPU has a [Device.Problem] as well.
	CodeLost          = "lost"
	CodeResetRequired = "reset-required"
	// CodeECCUncorrected means that memory errors could not be corrected since the driver was
	// loaded or the GPU was reset.
	CodeECCUncorrected = "ecc-uncorrected"
	// CodeRowRemapPending means that a bad memory row waits to be replaced, and
	// CodeRowRemapFailed that one could not be replaced.
	CodeRowRemapPending = "row-remap-pending"
	CodeRowRemapFailed  = "row-remap-failed"
	// CodeRetiredPagesPending means that bad memory pages wait to be taken out of use. This is
	// how cards before Ampere deal with bad memory.
	CodeRetiredPagesPending = "retired-pages-pending"
	// CodeFabricNotReady means that the GPU has not joined the NVSwitch fabric. CUDA does not
	// start without it.
	CodeFabricNotReady = "fabric-not-ready"
	// CodeComputeProhibited means that the compute mode allows no process to use the GPU, and
	// CodeExclusiveAndBusy that it allows one and there is one.
	CodeComputeProhibited = "compute-prohibited"
	CodeExclusiveAndBusy  = "exclusive-and-busy"
	// CodeRecoveryAction means that the driver wants something done before the GPU is used again.
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

// Healthy reports whether the GPU is usable and has no findings. What the card or the driver does
// not say counts as healthy. A MIG instance is as healthy as the GPU that it is a part of.
func (d Device) Healthy() bool { return d.Usable() && len(d.Findings) == 0 }
