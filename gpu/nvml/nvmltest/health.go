package nvmltest

// Health is what a GPU says about its health. A nil value means that the question is not supported.
type Health struct {
	ECCMode        *Mode
	ECC            *ECC  // in MIG mode the volatile counts are not supported
	SRAMThreshold  *bool // it is exceeded
	RemappedRows   *RemappedRows
	SpareRows      *SpareRows
	ClockReasons   *uint64 // nvmlClocksEventReasons
	RetiredPending *bool
	Fabric         *Fabric
	RecoveryAction *uint32 // nvmlDeviceGpuRecoveryAction_t
	Persistence    *bool
}

// Mode is a setting: its current value, and the value after the next reset.
type Mode struct{ Current, Pending bool }

// ECC counts memory errors since the driver was loaded (volatile) and in the card's life
// (aggregate).
type ECC struct {
	VolatileCorrected, VolatileUncorrected   uint64
	AggregateCorrected, AggregateUncorrected uint64
}

// RemappedRows is the state of row remapping.
type RemappedRows struct {
	Corrected, Uncorrected uint32
	Pending, Failed        bool
}

// SpareRows counts memory banks by how many spare rows they have left.
type SpareRows struct{ All, High, Partial, Low, None uint32 }

// Fabric is the state of the GPU in the NVSwitch fabric, in NVML's numbers.
type Fabric struct {
	State   uint32 // 3: completed
	Status  int    // nvmlReturn_t
	Mask    uint32
	Summary uint32 // 1: healthy
}

func (h Health) encode(line func(string, ...any)) {
	if m := h.ECCMode; m != nil {
		line("ecc_mode %d %d", number(m.Current), number(m.Pending))
	}
	if e := h.ECC; e != nil {
		line("ecc %d %d %d %d", e.VolatileCorrected, e.VolatileUncorrected,
			e.AggregateCorrected, e.AggregateUncorrected)
	}
	if r := h.RemappedRows; r != nil {
		line("remapped %d %d %d %d", r.Corrected, r.Uncorrected,
			number(r.Pending), number(r.Failed))
	}
	if h.SRAMThreshold != nil {
		line("sram_threshold %d", number(*h.SRAMThreshold))
	}
	if r := h.SpareRows; r != nil {
		line("spare_rows %d %d %d %d %d", r.All, r.High, r.Partial, r.Low, r.None)
	}
	if h.ClockReasons != nil {
		line("clock_reasons %d", *h.ClockReasons)
	}
	if h.RetiredPending != nil {
		line("retired_pending %d", number(*h.RetiredPending))
	}
	if f := h.Fabric; f != nil {
		line("fabric %d %d %d %d", f.State, f.Status, f.Mask, f.Summary)
	}
	if h.RecoveryAction != nil {
		line("recovery %d", *h.RecoveryAction)
	}
	if h.Persistence != nil {
		line("persistence %d", number(*h.Persistence))
	}
}
