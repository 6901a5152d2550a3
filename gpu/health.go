package gpu

// The codes of findings.
const (
	// CodeLost means that the GPU fell off the bus, and CodeResetRequired that it does nothing
	// before it is reset. Such a GPU has a [Device.Problem] as well.
	CodeLost          = "lost"
	CodeResetRequired = "reset-required"
	// CodeInaccessible means that the GPU could not be opened for another reason, such as its power
	// cables or permissions. Such a GPU has a [Device.Problem] as well.
	CodeInaccessible = "inaccessible"
	// CodeECCUncorrected means that memory errors could not be corrected since the driver was
	// loaded or the GPU was reset.
	CodeECCUncorrected = "ecc-uncorrected"
	// CodeSRAMThreshold means that the SRAM has had more uncorrectable errors in the card's life
	// than NVIDIA's field diagnostics tolerates.
	CodeSRAMThreshold = "sram-threshold-exceeded"
	// CodeRowRemapPending means that a bad memory row waits to be replaced, CodeRowRemapFailed
	// that one could not be replaced, and CodeSpareRowsExhausted that a memory bank has no spare
	// row left, so that the next bad row in it cannot be replaced.
	CodeRowRemapPending    = "row-remap-pending"
	CodeRowRemapFailed     = "row-remap-failed"
	CodeSpareRowsExhausted = "spare-rows-exhausted"
	// CodeRetiredPagesPending means that bad memory pages wait to be taken out of use. This is
	// how cards before Ampere deal with bad memory.
	CodeRetiredPagesPending = "retired-pages-pending"
	// CodeFabricNotReady means that the GPU has not joined the NVSwitch fabric, or that the fabric
	// reports that the GPU is unhealthy in it. CUDA does not start without it.
	// CodeFabricLimited means that it has joined and works with limited capacity.
	CodeFabricNotReady = "fabric-not-ready"
	CodeFabricLimited  = "fabric-limited"
	// CodeHardwareSlowdown means that the hardware holds the clocks down, because of the
	// temperature or the power supply.
	CodeHardwareSlowdown = "hardware-slowdown"
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

// RemedyLost says what to do about a GPU that is lost.
const RemedyLost = "look for XID 79 in the kernel's log, then power-cycle the machine; " +
	"if it happens again, check the card's seat, cables and power"

// Tolerable reports whether the finding is no reason to leave the GPU out. This is so only for a
// pending row remap: "Even with the flag set, unaffected applications can continue running without
// affecting accuracy and performance, and new workloads can be launched" (NVIDIA GPU Memory Error
// Management, Error Recovery and Response Flags).
func (f Finding) Tolerable() bool { return f.Code == CodeRowRemapPending }

// Healthy reports whether the GPU is usable and has no findings. What the card or the driver does
// not say counts as healthy. A MIG instance is as healthy as the GPU that it is a part of.
func (d Device) Healthy() bool { return d.Usable() && len(d.Findings) == 0 }
