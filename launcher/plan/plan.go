// Package plan decides which worker gets which device and which CPUs.
//
// [New] takes a [Machine], which package machine reads, and [Options], which a user sets. It
// returns a [Plan]: plain data that has the rank, the device, the CPUs and the environment of each
// [Worker]. Everything here is a pure function of its arguments. It uses no process, clock,
// environment or system call, so a plan can be printed, carried in a bug report, and tested for a
// machine that nobody has at hand.
package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/plural"
)

// The modes of a Plan.
const (
	ModeGPU = "gpu"
	ModeCPU = "cpu"
)

// Plan says what a job will be. It is plain data, without the arguments of the workers' command and
// without inherited variables, so that it can be shown to others.
type Plan struct {
	// Mode is ModeGPU or ModeCPU, and Reason says why in one sentence.
	Mode   string `json:"mode"`
	Reason string `json:"reason"`
	// Warnings are for the user, one line each.
	Warnings []string `json:"warnings,omitempty"`

	RunID       string          `json:"run_id"`
	Nodes       int             `json:"nnodes"`
	NodeRank    int             `json:"node_rank"`
	WorldSize   int             `json:"world_size"`
	MasterAddr  string          `json:"master_addr"`
	MasterPort  int             `json:"master_port"`
	MaxRestarts int             `json:"max_restarts"`
	Affinity    affinity.Policy `json:"affinity"`
	// Memory says where workers' memory comes from: which of the nodes in Worker.MemoryNodes.
	Memory  affinity.MemoryPolicy `json:"memory_policy"`
	Visible Visibility            `json:"visible"`
	// FreePort says that a restart picks another master port.
	FreePort bool `json:"free_port"`
	// Cgroup says where the job's control group will be, or why there is none.
	Cgroup CgroupPlace `json:"cgroup"`

	Workers []Worker `json:"workers"`
}

// Worker is the plan of one worker process.
type Worker struct {
	// Rank is the worker's number in the whole job, and LocalRank its number on this machine.
	Rank      int `json:"rank"`
	LocalRank int `json:"local_rank"`
	// CPUs are the CPUs that the worker is bound to, and NUMANodes the nodes that they belong to.
	CPUs      affinity.CPUSet `json:"cpus"`
	NUMANodes []int           `json:"numa_nodes"`
	// MemoryNodes are the nodes for the plan's memory policy, or nil if it has none.
	MemoryNodes []int `json:"memory_nodes,omitempty"`
	// NIC is the nearest RDMA device with Options.NIC set to NICClosest, and "" otherwise.
	NIC string `json:"nic,omitempty"`
	// Device is nil for a CPU-only worker.
	Device *Device `json:"device,omitempty"`
	// Env is added to the inherited environment, see Environ. It does not have what is known only
	// when the job starts, such as TORCHELASTIC_ERROR_FILE.
	Env map[string]string `json:"env"`
}

// Label returns what messages call the worker, with its process id: "rank 1 (pid 4711, GPU 1)".
func (w Worker) Label(pid int) string {
	if w.Device == nil {
		return fmt.Sprintf("rank %d (pid %d)", w.Rank, pid)
	}
	return fmt.Sprintf("rank %d (pid %d, GPU %d)", w.Rank, pid, w.Device.Index)
}

// Device is the GPU, or the MIG instance of one, that a worker owns.
type Device struct {
	// Index is the GPU's number in PCI order.
	Index    int    `json:"index"`
	UUID     string `json:"uuid"`
	Name     string `json:"name"`
	PCIBusID string `json:"pci_bus_id"`
	// MemoryTotalBytes is 0 if the driver does not report it.
	MemoryTotalBytes uint64 `json:"memory_total_bytes,omitempty"`
	// ParentUUID is the UUID of the GPU if the device is a MIG instance, and "" otherwise.
	ParentUUID string `json:"parent_uuid,omitempty"`
}

// New decides which worker gets what. It uses nothing but its arguments. An error is one line that
// says what to change.
func New(m Machine, o Options) (Plan, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return Plan{}, err
	}
	if !o.Workers.cpuOnly() {
		if err := CheckLibrary(m.Inventory); err != nil {
			return Plan{}, err
		}
	}
	m, err := m.excludeUnfit(o)
	if err != nil {
		return Plan{}, err
	}
	if m.Visible.Units, err = withIDs(m.Visible.Units, o.DeviceID); err != nil {
		return Plan{}, err
	}
	units, count, reason, err := m.chooseDevices(o)
	if err != nil {
		return Plan{}, err
	}
	concerns, err := m.deviceWarnings(o, units)
	if err != nil {
		return Plan{}, err
	}
	p := m.jobPlan(o, count)
	p.Reason = reason
	if len(units) > 0 {
		p.Mode = ModeGPU
	}
	p.Warnings = append(m.warnings(o), concerns...)
	bindings, warnings, err := m.bind(o, units, count)
	if err != nil {
		return Plan{}, err
	}
	p.Warnings = append(append(p.Warnings, warnings...), o.threadWarnings()...)
	nics, warnings := m.nics(o, units, count)
	p.Warnings = append(p.Warnings, warnings...)
	memory, warnings := m.memoryNodes(o, bindings)
	p.Warnings = append(p.Warnings, warnings...)
	for i := range count {
		w := Worker{
			Rank: o.NodeRank*count + i, LocalRank: i,
			CPUs: bindings[i].CPUs, NUMANodes: bindings[i].Nodes, NIC: nics[i],
			MemoryNodes: memory[i],
		}
		visible := ""
		if len(units) > 0 {
			unit := units[i%len(units)]
			w.Device, visible = deviceOf(unit), m.visibleTo(unit, o)
		}
		w.Env = p.environment(w, visible)
		m.addDefaults(w.Env, o, bindings[i].Threads, count, w.NIC)
		p.Workers = append(p.Workers, w)
	}
	return p, nil
}

// jobPlan returns a plan without workers, with what the options say of the whole job.
func (m Machine) jobPlan(o Options, workers int) Plan {
	p := Plan{
		Mode:  ModeCPU,
		RunID: o.RunID, Nodes: o.Nodes, NodeRank: o.NodeRank, WorldSize: o.Nodes * workers,
		MasterAddr: o.MasterAddr, MasterPort: o.MasterPort, FreePort: o.FreePort,
		MaxRestarts: o.MaxRestarts, Affinity: o.Affinity, Memory: o.Memory, Visible: o.Visible,
		Cgroup: m.Cgroup,
	}
	if o.NoCgroup {
		p.Cgroup = CgroupPlace{Reason: "not wanted"}
	}
	return p
}

// withDefaults returns the options with defaults for what is not set.
func (o Options) withDefaults() Options {
	if o.Workers == (WorkerCount{}) {
		o.Workers = WorkersAuto
	}
	if o.Affinity.Mode == "" {
		o.Affinity.Mode = affinity.ModeNode
	}
	if o.Threads == "" {
		o.Threads = affinity.ThreadsAll
	}
	if o.Memory == "" {
		o.Memory = affinity.MemoryNone
	}
	if o.NIC == "" {
		o.NIC = NICNone
	}
	if o.Health == "" {
		o.Health = HealthWarn
	}
	if o.Busy == "" {
		o.Busy = BusyWarn
	}
	if o.Visible == "" {
		o.Visible = VisibleOwn
	}
	if o.Nodes == 0 {
		o.Nodes = 1
	}
	if o.Nodes == 1 && o.MasterAddr == "" {
		o.MasterAddr = "127.0.0.1"
	}
	if o.MasterPort == 0 {
		o.FreePort = o.Nodes == 1
		if o.Nodes > 1 {
			o.MasterPort = 29500 // torchrun's; machines cannot agree on a free one
		}
	}
	return o
}

// check returns an error if the options are out of range or contradict each other.
func (o Options) check() error {
	switch {
	case o.Nodes < 1:
		return fmt.Errorf("--nnodes is %d: it must be at least 1", o.Nodes)
	case o.NodeRank < 0 || o.NodeRank >= o.Nodes:
		return fmt.Errorf("--node-rank is %d: with --nnodes=%d it must be from 0 to %d", o.NodeRank,
			o.Nodes, o.Nodes-1)
	case o.MasterAddr == "":
		return fmt.Errorf("--nnodes=%d needs --master-addr: the address of the machine with "+
			"--node-rank=0", o.Nodes)
	case o.MasterPort < 0 || o.MasterPort > 65535:
		return fmt.Errorf("--master-port is %d: it must be from 1 to 65535", o.MasterPort)
	case o.MaxRestarts < 0:
		return fmt.Errorf("--max-restarts is %d: it must be 0 or more", o.MaxRestarts)
	}
	return nil
}

// CheckLibrary returns an error if the NVML library that the user named could not be loaded. What
// is there without it, other GPUs or CPUs, is not what the user meant.
func CheckLibrary(inv gpu.Inventory) error {
	if inv.LibraryProblem == "" {
		return nil
	}
	return fmt.Errorf("--nvml-library names a library that cannot be used: %s; correct it, or "+
		"leave it out to have the library searched for", inv.LibraryProblem)
}

// chooseDevices returns the devices that are used, the number of workers, and the reason for the
// plan's mode. Without devices, workers are CPU-only.
func (m Machine) chooseDevices(o Options) (units []gpu.Unit, count int, reason string, err error) {
	if o.Workers.cpuOnly() {
		if o.RequireGPU {
			return nil, 0, "",
				fmt.Errorf("--require-gpu contradicts --nproc-per-node=cpu: drop one of them")
		}
		count = o.Workers.number
		if count == 0 {
			count = m.Topology.Allowed.Len()
		}
		return nil, count, "asked for by --nproc-per-node=cpu", nil
	}
	units = m.Visible.Units
	if len(units) == 0 {
		return m.chooseCPUOnly(o)
	}
	count = len(units)
	if o.Workers.number > 0 {
		count = o.Workers.number
	}
	if count > len(units) && !o.Oversubscribe {
		return nil, 0, "",
			fmt.Errorf("%d workers were asked for, but there %s usable%s: use "+
				"--nproc-per-node=%d, or --oversubscribe to share them",
				count, plural.Of(len(units), "is %d GPU", "are %d GPUs"), m.unusable(), len(units))
	}
	isMIG := func(u gpu.Unit) bool { return u.Instance != nil }
	if o.Visible == VisibleAll && slices.ContainsFunc(units, isMIG) {
		return nil, 0, "",
			fmt.Errorf("--visible=all cannot work with MIG instances, because a process can use " +
				"only one: use --visible=own")
	}
	if o.Visible == VisibleAll && count > len(units) {
		return nil, 0, "",
			fmt.Errorf("--visible=all cannot work with more workers (%d) than GPUs (%d), because "+
				"LOCAL_RANK picks the GPU: use --visible=own", count, len(units))
	}
	if count < len(units) && o.Visible == VisibleOwn {
		units = units[:count]
	}
	return units, count, m.Inventory.Reason, nil
}

// chooseCPUOnly is chooseDevices for a machine without a usable GPU.
func (m Machine) chooseCPUOnly(o Options) ([]gpu.Unit, int, string, error) {
	reason := m.noGPUReason()
	if o.RequireGPU || o.Workers.word == "gpu" {
		flag := "--require-gpu"
		if !o.RequireGPU {
			flag = "--nproc-per-node=gpu"
		}
		return nil, 0, "", fmt.Errorf("%s is set, but no GPU is usable: %s", flag, reason)
	}
	if m.namesGPUs() {
		if len(m.Inventory.Devices) == 0 {
			reason = fmt.Sprintf("CUDA_VISIBLE_DEVICES=%.120q names a GPU, but none is found: %s",
				m.Visible.Value, reason)
		}
		return nil, 0, "", fmt.Errorf("%s; to run on CPUs nevertheless use --nproc-per-node=cpu",
			reason)
	}
	if o.Workers.number > 0 {
		return nil, o.Workers.number, reason, nil
	}
	return nil, len(m.Topology.UsableNodes()), reason, nil
}

// namesGPUs reports whether CUDA_VISIBLE_DEVICES asks for GPUs of this machine. If none of them can
// be used, that is a mistake or a fault, and the job must not run on CPUs for days because of it. An
// index on a machine without any GPU counts as nothing: many environments have CUDA_VISIBLE_DEVICES=0
// for all machines. A UUID is that of one GPU, which the user wants.
func (m Machine) namesGPUs() bool {
	if !m.Visible.Set || m.asksForNoGPU() {
		return false
	}
	value := strings.TrimSpace(m.Visible.Value)
	return len(m.Inventory.Devices) > 0 || strings.HasPrefix(value, "GPU-") ||
		strings.HasPrefix(value, "MIG-")
}

// asksForNoGPU reports whether CUDA_VISIBLE_DEVICES asks for no GPU: it is empty, a negative
// number, or the word that Slurm sets for a job without GPUs.
func (m Machine) asksForNoGPU() bool {
	value := strings.TrimSpace(m.Visible.Value)
	return value == "" || strings.HasPrefix(value, "-") || value == "NoDevFiles"
}

// noGPUReason returns why no GPU can be used.
func (m Machine) noGPUReason() string {
	switch {
	case len(m.Inventory.Devices) == 0:
		return m.Inventory.Reason
	case m.Visible.Reason != "":
		return m.Visible.Reason
	case len(m.Visible.Unusable) > 0:
		return strings.TrimPrefix(m.unusable(), ", ")
	case m.Visible.Set:
		return fmt.Sprintf("CUDA_VISIBLE_DEVICES=%q leaves none of %s", m.Visible.Value,
			plural.Of(len(m.Inventory.Devices), "%d GPU", "%d GPUs"))
	}
	return "none is left" // not reached: something has emptied the list
}

// unusable lists the GPUs that no worker can use, each with a comma in front, or returns "" if
// there are none.
func (m Machine) unusable() string {
	var b strings.Builder
	for _, d := range m.Visible.Unusable {
		fmt.Fprintf(&b, ", %s is not usable: %s", d.Label(), d.Problem)
	}
	return b.String()
}

// warnings returns warnings about the inventory and CUDA_VISIBLE_DEVICES.
func (m Machine) warnings(o Options) []string {
	if o.Workers.cpuOnly() {
		return nil
	}
	var list []string
	for _, d := range m.Visible.Unusable {
		line := fmt.Sprintf("%s is left out: %s", d.Label(), d.Problem)
		if len(d.Findings) > 0 {
			line += "; " + d.Findings[0].Remedy
		}
		list = append(list, line)
	}
	if o.DeviceID == DeviceIndex && slices.ContainsFunc(m.Inventory.Devices,
		func(d gpu.Device) bool { return !d.Usable() || d.MIG }) {
		list = append(list,
			"--device-id=index may name the wrong GPU: CUDA may not count one that is broken or "+
				"in MIG mode; use --device-id=uuid")
	}
	if o.DeviceID == "" && m.Visible.Set && slices.ContainsFunc(m.Visible.Units,
		func(u gpu.Unit) bool { return u.ID == strconv.Itoa(u.Device.Index) }) &&
		slices.ContainsFunc(m.Inventory.Devices, func(d gpu.Device) bool { return !d.Usable() }) {
		list = append(list,
			fmt.Sprintf("CUDA_VISIBLE_DEVICES=%q counts GPUs, and CUDA may not count one that is "+
				"broken: workers may see other GPUs than planned; use --device-id=uuid",
				m.Visible.Value))
	}
	if m.Visible.Reason != "" && len(m.Visible.Units) > 0 {
		list = append(list, m.Visible.Reason)
	}
	return append(list, m.Visible.Doubts...)
}

// deviceOf returns the device of a plan for a unit of the inventory.
func deviceOf(u gpu.Unit) *Device {
	d := &Device{
		Index: u.Device.Index, UUID: u.Device.UUID, Name: u.Device.Name,
		PCIBusID: u.Device.PCIBusID, MemoryTotalBytes: u.Device.MemoryTotalBytes,
	}
	if u.Instance != nil {
		d.ParentUUID, d.UUID, d.MemoryTotalBytes = d.UUID, u.Instance.UUID,
			u.Instance.MemoryTotalBytes
	}
	return d
}

// visibleTo returns the CUDA_VISIBLE_DEVICES of a worker whose device is u.
func (m Machine) visibleTo(u gpu.Unit, o Options) string {
	if u.ID == "" || o.Visible != VisibleAll {
		return u.ID
	}
	ids := make([]string, len(m.Visible.Units))
	for i, unit := range m.Visible.Units {
		ids[i] = unit.ID
	}
	return strings.Join(ids, ",")
}
