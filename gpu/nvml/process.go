//go:build linux && !nonvml

package nvml

import (
	"errors"
	"unsafe"
)

// NoInstance stands for the id of a MIG instance if there is no instance.
const NoInstance uint32 = 1<<32 - 1

// Process is a process with a compute context on a device.
type Process struct {
	// PID is the process id in a PID namespace of the driver's choice, usually the host's.
	PID uint32
	// UsedBytes is the device memory that it uses. It means something only if UsedKnown.
	UsedBytes uint64
	UsedKnown bool
	// GPUInstance and ComputeInstance are the ids of the MIG instance that it runs on, or
	// NoInstance.
	GPUInstance     uint32
	ComputeInstance uint32
}

// memoryUnknown is NVML_VALUE_NOT_AVAILABLE as a 64-bit number.
const memoryUnknown = 1<<64 - 1

const (
	firstProcessRoom = 32
	maxProcessRoom   = 1 << 16
	maxProcessTries  = 8
)

// ComputeProcesses lists the processes that compute on a GPU or a MIG instance, including those of
// other users and containers (nvmlDeviceGetComputeRunningProcesses_v3, _v2 and the one without a
// suffix).
//
// The list can grow while it is read. If it has outgrown its buffer too often, the error is
// [ErrInsufficientSize].
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

// fillProcessTable returns how many processes were written or, with ErrInsufficientSize, how many
// there are.
func (d Device) fillProcessTable(table processTable) (int, error) {
	// The count is set for each version, because one that failed may have changed it.
	var err error
	for _, version := range []symbol{deviceProcessesV3, deviceProcessesV2, deviceProcessesV1} {
		count := uint32(table.room())
		err = d.lib.call(version, d.handle,
			uintptr(unsafe.Pointer(&count)), uintptr(unsafe.Pointer(&table[0])))
		if !tooNew(err) {
			return int(count), err
		}
	}
	return 0, err
}

// processTable is memory for records that C writes. It consists of 8-byte words so that it is
// aligned for them.
//
// The size of the records is measured, because the documented size is not reliable: drivers of the
// 535 series write the 32 bytes of nvmlProcessDetail_v1_t where nvmlProcessInfo_t has 24, and some
// libraries write version 1 under a newer name. The table has room for the largest records, and
// every word is marked before the call. The last word that has changed tells the size.
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

// recordSize returns the size in words of each of n records. It returns false if the library has
// written nothing, or more than n of the largest records.
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
	// A newer record begins with the older one. The record is not taken for a processV2 before its
	// size is known, because it may be shorter.
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

// processNameSize is our own choice. NVML cuts off what does not fit, and the beginning of a name
// matters most.
const processNameSize = 256

// ProcessName returns the driver's name for a process in any PID namespace that the driver serves.
// It may be a path, and arguments may follow it (nvmlSystemGetProcessName).
//
// Errors: [ErrNotFound], [ErrNoPermission] and others.
func (l *Library) ProcessName(pid uint32) (string, error) {
	var buf [processNameSize]byte
	err := l.call(processName, uintptr(pid), uintptr(unsafe.Pointer(&buf[0])), processNameSize)
	if err != nil {
		return "", err
	}
	return text(buf[:]), nil
}
