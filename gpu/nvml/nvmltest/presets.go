package nvmltest

import "fmt"

const gib = 1 << 30

// EightGPUs returns a server with eight GPUs, four on each of two NUMA nodes with the given masks
// of CPUs. No process uses the GPUs. Every figure differs from GPU to GPU.
func EightGPUs(node0, node1 []uint64) Machine {
	m := Machine{DriverVersion: "550.54.15", NVMLVersion: "12.550.54.15", CUDAVersion: 12040}
	for i := range 8 {
		cpus := node0
		if i >= 4 {
			cpus = node1
		}
		m.Devices = append(m.Devices, h100(i, cpus))
	}
	return m
}

func h100(i int, cpus []uint64) Device {
	n := uint32(i)
	used := uint64(i+1) * 3 * gib
	return Device{
		Name:              "NVIDIA H100 80GB HBM3",
		UUID:              fmt.Sprintf("GPU-%08x-1111-2222-3333-%012x", 0xa0000000+n, i),
		Bus:               []uint32{0x1b, 0x43, 0x52, 0x61, 0x9d, 0xc3, 0xd1, 0xdf}[i],
		PCIDevice:         0x233010de,
		Minor:             i,
		Memory:            Memory{Total: 80 * gib, Free: 79*gib - used, Used: used, Reserved: gib},
		GPUUtilization:    10 + n,
		MemoryUtilization: 20 + n,
		Temperature:       30 + i,
		PowerUsage:        100_000 + n,
		PowerLimit:        700_000 + n,
		Clocks:            [3]uint32{1980 + n, 1500 + n, 2619 + n},
		MaxSMClock:        1980,
		Cores:             16896,
		MIGCapable:        true,
		CPUs:              cpus,
		Health:            healthy(),
		EventTypes:        EventDoubleBitECC | EventXID,
	}
}

// healthy returns the health of a GPU without any problem. It has no page retirement, because that
// is for cards that cannot remap rows.
func healthy() Health {
	return Health{
		ECCMode:        &Mode{Current: true, Pending: true},
		ECC:            &ECC{},
		SRAMThreshold:  new(false),
		RemappedRows:   &RemappedRows{},
		SpareRows:      &SpareRows{All: 640},
		ClockReasons:   new(uint64(1)), // idle
		Fabric:         &Fabric{State: 3, Summary: 1},
		RecoveryAction: new(uint32),
		Persistence:    new(true),
	}
}

// LostGPU returns the machine with GPU i fallen off the bus. All calls about it fail, also the one
// for its handle.
func (m Machine) LostGPU(i int) Machine {
	return m.With(Behavior{Function: "*", Device: i, Action: Fail(15)})
}

// OldDriver returns the machine with a library from the time before most functions had versions.
func (m Machine) OldDriver() Machine {
	m.DriverVersion, m.NVMLVersion, m.CUDAVersion = "384.183", "9.384.183", 9000
	return m.Without(
		"nvmlInitWithFlags",
		"nvmlSystemGetCudaDriverVersion_v2",
		"nvmlDeviceGetPciInfo_v2",
		"nvmlDeviceGetPciInfo_v3",
		"nvmlDeviceGetMemoryInfo_v2",
		"nvmlDeviceGetTemperatureV",
		"nvmlDeviceGetComputeRunningProcesses_v2",
		"nvmlDeviceGetComputeRunningProcesses_v3",
		"nvmlDeviceGetCpuAffinityWithinScope",
		"nvmlDeviceGetMigMode",
		"nvmlDeviceGetMaxMigDeviceCount",
		"nvmlDeviceGetMigDeviceHandleByIndex",
		"nvmlDeviceGetGpuInstanceId",
		"nvmlDeviceGetComputeInstanceId",
		"nvmlDeviceGetAttributes_v2",
		"nvmlDeviceGetRemappedRows",
		"nvmlDeviceGetRowRemapperHistogram",
		"nvmlDeviceGetSramEccErrorStatus",
		"nvmlDeviceGetCurrentClocksEventReasons",
		"nvmlDeviceGetNumGpuCores",
		"nvmlDeviceGetGpuFabricInfo",
		"nvmlDeviceGetGpuFabricInfoV",
		"nvmlDeviceGetFieldValues",
		"nvmlEventSetWait_v2",
	)
}

// AncientDriver returns the machine like OldDriver, without any function whose name ends in a
// version.
func (m Machine) AncientDriver() Machine {
	return m.OldDriver().Without(
		"nvmlInit_v2", "nvmlDeviceGetCount_v2", "nvmlDeviceGetHandleByIndex_v2")
}

// FailsToStart returns the machine after a driver update without a reboot: nvmlInit fails (18),
// because the versions of the library and the kernel's driver differ.
func (m Machine) FailsToStart() Machine {
	return m.With(Behavior{Function: "nvmlInit*", Device: AllDevices, Action: Fail(18)})
}

// MIG returns the machine with GPU i split into two instances, with an empty place between them.
func (m Machine) MIG(i int) Machine {
	return m.WithDevice(i, func(d *Device) {
		d.MIG, d.MIGPending = true, true
		d.Instances = []Instance{
			{
				Name:        d.Name + " MIG 3g.40gb",
				UUID:        fmt.Sprintf("MIG-%08x-aaaa-bbbb-cccc-000000000001", i),
				Memory:      Memory{Total: 40 * gib, Free: 38 * gib, Used: gib, Reserved: gib},
				GPUInstance: 2, ComputeInstance: 0,
				GPUSlices: 3, ComputeSlices: 3, Multiprocessors: 60,
			},
			{},
			{
				Name:        d.Name + " MIG 1g.10gb",
				UUID:        fmt.Sprintf("MIG-%08x-aaaa-bbbb-cccc-000000000003", i),
				Memory:      Memory{Total: 10 * gib, Free: 7 * gib, Used: 2 * gib, Reserved: gib},
				GPUInstance: 9, ComputeInstance: 1,
				GPUSlices: 1, ComputeSlices: 1, Multiprocessors: 16,
			},
		}
		d.Processes = []Process{
			{PID: 4001, Used: 1 * gib, GPUInstance: 2, ComputeInstance: 0},
			{PID: 4002, Used: UnknownMemory, GPUInstance: 9, ComputeInstance: 1},
		}
	})
}
