//go:build linux && !nonvml

package nvml

import (
	"errors"
	"unsafe"
)

// NoInstance stands for the id of a MIG instance where there is none.
const NoInstance uint32 = 1<<32 - 1

// Process is a process with a compute context on a device.
type Process struct {
	// PID is the process id in the PID namespace of the driver's choice: the host's, mostly.
	PID uint32
	// UsedBytes is the device memory it uses, if UsedKnown.
	UsedBytes uint64
	UsedKnown bool
	// GPUInstance and ComputeInstance are the MIG instance it runs on, or NoInstance.
	GPUInstance     uint32
	ComputeInstance uint32
}

// memoryUnknown is NVML_VALUE_NOT_AVAILABLE in 64 bits.
const memoryUnknown = 1<<64 - 1

const (
	firstProcessRoom = 32
	maxProcessRoom   = 1 << 16
	maxProcessTries  = 8
)

// ComputeProcesses lists the processes that compute on a GPU or a MIG instance, those of other users and containers
// included (nvmlDeviceGetComputeRunningProcesses_v3, _v2 and the plain one).
//
// The list can grow while it is read. When it has outgrown its buffer too often, the error is [ErrInsufficientSize].
func (d Device) ComputeProcesses() ([]Process, error) {
	room := firstProcessRoom
	for range maxProcessTries {
		table := newProcessTable(room)
		needed, err := d.fillProcessTable(table)
		if err == nil {
			return table.processes(needed)
		}
		if !errors.Is(err, ErrInsufficientSize) {
			return nil, err
		}
		room = min(max(room, needed)*2, maxProcessRoom)
	}
	return nil, ErrInsufficientSize
}

// fillProcessTable returns how many processes were written or, with ErrInsufficientSize, how many there are.
func (d Device) fillProcessTable(table processTable) (int, error) {
	// A failed version may have changed the count, so each one gets it anew.
	var err error
	for _, version := range []symbol{deviceProcessesV3, deviceProcessesV2, deviceProcessesV1} {
		count := uint32(table.room())
		err = d.lib.call(version, d.handle, uintptr(unsafe.Pointer(&count)), uintptr(unsafe.Pointer(&table[0])))
		if !tooNew(err) {
			return int(count), err
		}
	}
	return 0, err
}

// processTable is memory for records that C writes, in 8-byte words so that it is aligned for them.
//
// The size of a record is measured, not believed: drivers of the 535 series write the 32 bytes of
// nvmlProcessDetail_v1_t where nvmlProcessInfo_t has 24, and some libraries write version 1 under a newer name. So
// there is room for the largest, and every word is marked before the call: the last one that changed gives it away.
type processTable []uint64

const (
	wordSize    = unsafe.Sizeof(uint64(0))
	smallRecord = int(unsafe.Sizeof(processV1{}) / wordSize)
	usualRecord = int(unsafe.Sizeof(processV2{}) / wordSize)
	largeRecord = int(unsafe.Sizeof(processDetail{}) / wordSize)

	untouched = 0xa5a5a5a5a5a5a5a5
)

func newProcessTable(room int) processTable {
	table := make(processTable, room*largeRecord)
	for i := range table {
		table[i] = untouched
	}
	return table
}

func (t processTable) room() int { return len(t) / largeRecord }

// recordSize is the size in words of each of n records. None fits when the library wrote nothing at all.
func (t processTable) recordSize(n int) (size int, ok bool) {
	written := len(t)
	for written > 0 && t[written-1] == untouched {
		written--
	}
	for _, size := range []int{smallRecord, usualRecord, largeRecord} {
		if written <= n*size {
			return size, written > 0
		}
	}
	return 0, false
}

func (t processTable) processes(n int) ([]Process, error) {
	n = min(n, t.room())
	if n == 0 {
		return nil, nil
	}
	size, ok := t.recordSize(n)
	if !ok {
		return nil, ErrUnknown
	}
	list := make([]Process, n)
	for i := range list {
		list[i] = processAt(t[i*size:], size)
	}
	return list, nil
}

func processAt(record []uint64, size int) Process {
	// Records only ever got longer at their end, and one may be shorter than processV2: hence no cast of that.
	head := (*processV1)(unsafe.Pointer(&record[0]))
	p := Process{PID: head.pid, GPUInstance: NoInstance, ComputeInstance: NoInstance}
	if head.used != memoryUnknown {
		p.UsedBytes, p.UsedKnown = head.used, true
	}
	if size >= usualRecord {
		whole := (*processV2)(unsafe.Pointer(&record[0]))
		p.GPUInstance, p.ComputeInstance = whole.gpuInstance, whole.computeInstance
	}
	return p
}

// processNameSize is our own: NVML cuts off what does not fit, and the beginning is what tells.
const processNameSize = 256

// ProcessName is what the driver calls a process of any PID namespace that it serves. It may be a path and may have
// arguments behind it (nvmlSystemGetProcessName).
//
// Errors: [ErrNotFound], [ErrNoPermission] and others.
func (l *Library) ProcessName(pid uint32) (string, error) {
	var buf [processNameSize]byte
	if err := l.call(processName, uintptr(pid), uintptr(unsafe.Pointer(&buf[0])), processNameSize); err != nil {
		return "", err
	}
	return text(buf[:]), nil
}
