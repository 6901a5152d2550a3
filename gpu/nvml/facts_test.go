//go:build linux && !nonvml

package nvml

// facts are answers by the names of the questions. If there was no answer, the error takes its
// place.
type facts map[string]any

func (f facts) put(name string, value any, err error) {
	if err != nil {
		value = err
	}
	f[name] = value
}

// add puts the answer of a function that has no other arguments.
func add[T any](f facts, name string, ask func() (T, error)) {
	value, err := ask()
	f.put(name, value, err)
}

// deviceFacts asks a device what it is and what it does.
func deviceFacts(d Device) facts {
	f := facts{}
	add(f, "name", d.Name)
	add(f, "uuid", d.UUID)
	add(f, "pci", d.PCI)
	add(f, "minor", d.MinorNumber)
	add(f, "memory", d.Memory)
	gpu, memory, err := d.Utilization()
	f.put("utilization", [2]uint32{gpu, memory}, err)
	add(f, "temperature", d.Temperature)
	add(f, "power usage", d.PowerUsage)
	add(f, "power limit", d.PowerLimit)
	for domain, name := range clockNames {
		clock, err := d.Clock(ClockType(domain))
		f.put(name, clock, err)
	}
	clock, err := d.MaxClock(ClockSM)
	f.put("max SM clock", clock, err)
	add(f, "cores", d.Cores)
	add(f, "compute mode", d.ComputeMode)
	current, pending, err := d.MIGMode()
	f.put("mig", [2]bool{current, pending}, err)
	add(f, "cpus", d.CPUAffinityWithinNUMA)
	add(f, "processes", d.ComputeProcesses)
	return f
}

// clockNames are the names of the facts about clocks, by clock domain.
var clockNames = [...]string{
	ClockGraphics: "graphics clock", ClockSM: "SM clock", ClockMemory: "memory clock",
}

// healthFacts asks a device about its health.
func healthFacts(d Device) facts {
	f := facts{}
	current, pending, err := d.ECCMode()
	f.put("ECC mode", [2]bool{current, pending}, err)
	add(f, "ECC errors", d.UncorrectedECCErrors)
	add(f, "SRAM errors", d.UncorrectedSRAMErrors)
	add(f, "SRAM threshold", d.SRAMThresholdExceeded)
	add(f, "rows", d.RemappedRows)
	add(f, "spare rows", d.SpareRows)
	add(f, "clock reasons", d.ClockReasons)
	add(f, "pages", d.RetiredPagesPending)
	add(f, "fabric", d.Fabric)
	add(f, "recovery", d.RecoveryAction)
	add(f, "persistence", d.PersistenceMode)
	add(f, "event types", d.SupportedEvents)
	return f
}
