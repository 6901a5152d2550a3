package plan

import (
	"fmt"
	"strconv"

	"github.com/gpulaunch/gpulaunch/affinity"
)

// WorkerCount says how many workers to start: a number, or a word for a number that depends on the
// machine.
type WorkerCount struct {
	word   string
	number int
}

// The words of a WorkerCount.
var (
	// WorkersAuto is one worker per usable GPU or, without any, one per NUMA node.
	WorkersAuto = WorkerCount{word: "auto"}
	// WorkersGPU is one worker per usable GPU, and an error without any.
	WorkersGPU = WorkerCount{word: "gpu"}
	// WorkersCPU is one CPU-only worker per CPU that this process may use, even on a
	// machine with GPUs (torchrun's meaning of the word).
	WorkersCPU = WorkerCount{word: "cpu"}
)

// Workers returns a fixed number of workers.
func Workers(n int) WorkerCount { return WorkerCount{number: n} }

// maxWorkers is the highest number that is accepted. A higher one can only be a mistake.
const maxWorkers = 1 << 15

// ParseWorkerCount reads "auto", "gpu", "cpu" or a positive number.
func ParseWorkerCount(s string) (WorkerCount, error) {
	switch s {
	case "auto", "gpu", "cpu":
		return WorkerCount{word: s}, nil
	}
	n, err := strconv.Atoi(s)
	if err == nil && n > maxWorkers {
		return WorkerCount{},
			fmt.Errorf("%d workers are more than one machine can hold: use %d at most", n,
				maxWorkers)
	}
	if err != nil || n < 1 {
		return WorkerCount{},
			fmt.Errorf("%q is not a number of workers: use auto, gpu, cpu or a number from 1 up", s)
	}
	return Workers(n), nil
}

// Fixed returns a count of the same kind with n workers, which is what a restart needs.
func (c WorkerCount) Fixed(n int) WorkerCount { return WorkerCount{word: c.word, number: n} }

// cpuOnly reports whether workers get no GPU even if there are some.
func (c WorkerCount) cpuOnly() bool { return c.word == "cpu" }

// String returns the text that ParseWorkerCount reads.
func (c WorkerCount) String() string {
	if c.word != "" {
		return c.word
	}
	return strconv.Itoa(c.number)
}

// Visibility says which of the machine's GPUs a worker sees.
type Visibility string

const (
	// VisibleOwn shows a worker only its own device. LOCAL_RANK is 0.
	VisibleOwn Visibility = "own"
	// VisibleAll shows every worker all devices, as torchrun does. LOCAL_RANK is the true local
	// rank, and it picks the device.
	VisibleAll Visibility = "all"
)

// ParseVisibility reads "own" or "all".
func ParseVisibility(s string) (Visibility, error) {
	switch v := Visibility(s); v {
	case VisibleOwn, VisibleAll:
		return v, nil
	}
	return "", fmt.Errorf("%q is not a visibility: use own or all", s)
}

// Options are what the user can choose about a plan. The zero value of each field has a meaning.
type Options struct {
	// Workers is the number of workers on this node; WorkersAuto by default.
	Workers WorkerCount
	// Nodes is the number of machines in the job, 1 by default. NodeRank is this machine's number
	// among them, from 0. All machines run the same number of workers.
	Nodes, NodeRank int
	// MasterAddr and MasterPort are where rank 0 listens. With one node, the address defaults to
	// 127.0.0.1 and the port to one that is free when the job starts. With several nodes, the port
	// defaults to 29500.
	MasterAddr string
	MasterPort int
	// FreePort says that MasterPort was chosen because it was free, so that a restart chooses
	// another.
	FreePort bool
	// MaxRestarts is how often a failed job may be restarted as a whole.
	MaxRestarts int
	// RunID is the value of TORCHELASTIC_RUN_ID.
	RunID string
	// Affinity says how workers are bound to CPUs, affinity.ModeNode by default. Threads says how
	// many hardware threads of a core they get, all by default.
	Affinity affinity.Policy
	Threads  affinity.Threads
	// StrictAffinity makes it an error if a device's CPUs may not be used. By default, workers then
	// get other CPUs.
	StrictAffinity bool
	// Memory says where workers' memory comes from, affinity.MemoryNone by default.
	Memory affinity.MemoryPolicy
	// NIC says which RDMA device workers are told to use, NICNone by default.
	NIC NICChoice
	// Health says what to do with GPUs that have a finding, HealthWarn by default. Busy says what
	// to do with those that others use, BusyWarn by default.
	Health HealthMode
	Busy   BusyMode
	// DeviceID is the kind of name by which CUDA_VISIBLE_DEVICES names whole GPUs. By default it is
	// the kind that the user's own value has. If there is none, it is the index, or the UUID if
	// CUDA may count the machine's GPUs differently. MIG instances are always named by UUID.
	DeviceID DeviceID
	// Visible says which devices a worker sees, VisibleOwn by default.
	Visible Visibility
	// Oversubscribe permits more workers than GPUs: worker i gets device i mod n.
	Oversubscribe bool
	// RequireGPU makes the fallback to CPU-only workers an error.
	RequireGPU bool
	// NoCgroup means that the job gets no control group of its own.
	NoCgroup bool
	// Environ is the environment that workers inherit, in the form of os.Environ. The plan does not
	// override a default, such as OMP_NUM_THREADS, that is set there, and warns about variables
	// with which OpenMP would undo the binding to CPUs.
	Environ []string
}

// NeedsTopology reports whether a plan with these options is impossible without the machine's
// topology.
func (o Options) NeedsTopology() bool {
	o = o.withDefaults()
	return o.Affinity.Mode != affinity.ModeNone || o.Memory != affinity.MemoryNone
}

// DeviceID is a kind of name for GPUs.
type DeviceID string

const (
	// DeviceIndex is the GPU's number in PCI order.
	DeviceIndex DeviceID = "index"
	// DeviceUUID is the GPU's UUID: "GPU-…".
	DeviceUUID DeviceID = "uuid"
)

// ParseDeviceID reads "index" or "uuid".
func ParseDeviceID(s string) (DeviceID, error) {
	switch d := DeviceID(s); d {
	case DeviceIndex, DeviceUUID:
		return d, nil
	}
	return "", fmt.Errorf("%q is not a kind of name for GPUs: use index or uuid", s)
}

// NICChoice says which RDMA device a worker is told to use.
type NICChoice string

const (
	// NICNone leaves the choice to NCCL and UCX.
	NICNone NICChoice = "none"
	// NICClosest is the device that is nearest to the worker's GPU.
	NICClosest NICChoice = "closest"
)

// ParseNICChoice reads "none" or "closest".
func ParseNICChoice(s string) (NICChoice, error) {
	switch c := NICChoice(s); c {
	case NICNone, NICClosest:
		return c, nil
	}
	return "", fmt.Errorf("%q is not a choice of a network device: use none or closest", s)
}
