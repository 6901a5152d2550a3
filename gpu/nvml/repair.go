//go:build linux && !nonvml

package nvml

import (
	"encoding/binary"
	"fmt"
	"unsafe"
)

// RemappedRows says what happened to memory rows that went bad.
type RemappedRows struct {
	// Corrected and Uncorrected count the rows that were replaced after errors that could and could
	// not be corrected.
	Corrected   uint32
	Uncorrected uint32
	// Pending is true if rows will be replaced at the next reset of the GPU.
	Pending bool
	// Failed is true if there was no spare row left, now or at any time before.
	Failed bool
}

// RemappedRows returns the state of row remapping, which cards have since Ampere
// (nvmlDeviceGetRemappedRows). For older cards, and for cards that have MIG instances, the error is
// [ErrNotSupported].
func (d Device) RemappedRows() (RemappedRows, error) {
	var corrected, uncorrected, pending, failed uint32
	err := d.lib.call(deviceRemappedRows, d.handle,
		uintptr(unsafe.Pointer(&corrected)), uintptr(unsafe.Pointer(&uncorrected)),
		uintptr(unsafe.Pointer(&pending)), uintptr(unsafe.Pointer(&failed)))
	return RemappedRows{corrected, uncorrected, pending != 0, failed != 0}, err
}

// SpareRows counts the GPU's memory banks by how many spare rows they have left
// (nvmlRowRemapperHistogramValues_t).
type SpareRows struct {
	// All is the number of banks that have all of their spare rows, None of those that have none.
	All, High, Partial, Low, None uint32
}

// SpareRows returns how many memory banks still have spare rows, on cards since Ampere
// (nvmlDeviceGetRowRemapperHistogram).
func (d Device) SpareRows() (SpareRows, error) {
	var rows spareRows
	err := d.lib.call(deviceSpareRows, d.handle, uintptr(unsafe.Pointer(&rows)))
	return SpareRows{rows.all, rows.high, rows.partial, rows.low, rows.none}, err
}

// RetiredPagesPending reports whether memory pages will be taken out of use at the next reboot.
// Only cards before Ampere do that (nvmlDeviceGetRetiredPagesPendingStatus).
func (d Device) RetiredPagesPending() (bool, error) {
	pending, err := d.number(deviceRetiredPending)
	return pending == featureEnabled, err
}

// PersistenceMode reports whether the driver keeps the GPU initialized while no process uses it
// (nvmlDeviceGetPersistenceMode).
func (d Device) PersistenceMode() (bool, error) {
	mode, err := d.number(devicePersistence)
	return mode == featureEnabled, err
}

// RecoveryAction is what the driver wants done to a GPU before it is used again
// (nvmlDeviceGpuRecoveryAction_t).
type RecoveryAction uint32

// The recovery actions.
const (
	RecoveryNone          RecoveryAction = 0
	RecoveryGPUReset      RecoveryAction = 1
	RecoveryNodeReboot    RecoveryAction = 2
	RecoveryDrainP2P      RecoveryAction = 3 // start no new work that uses peer-to-peer
	RecoveryDrainAndReset RecoveryAction = 4
	RecoveryIMEXDomain    RecoveryAction = 5
	RecoveryBusReset      RecoveryAction = 6
	RecoverySystemReboot  RecoveryAction = 7
)

// String returns the action in words, such as "GPU reset".
func (a RecoveryAction) String() string {
	switch a {
	case RecoveryNone:
		return "none"
	case RecoveryGPUReset:
		return "GPU reset"
	case RecoveryNodeReboot:
		return "node reboot"
	case RecoveryDrainP2P:
		return "drain peer-to-peer"
	case RecoveryDrainAndReset:
		return "drain and reset"
	case RecoveryIMEXDomain:
		return "recover the IMEX domain"
	case RecoveryBusReset:
		return "bus reset"
	case RecoverySystemReboot:
		return "system reboot"
	}
	return fmt.Sprintf("unknown (%d)", uint32(a))
}

const (
	// fieldRecoveryAction is NVML_FI_DEV_GET_GPU_RECOVERY_ACTION.
	fieldRecoveryAction = 230
	// valueUnsignedInt and valueSignedInt are values of nvmlValueType_t.
	valueUnsignedInt = 1
	valueSignedInt   = 5
)

// RecoveryAction returns the action that the driver wants (nvmlDeviceGetFieldValues). For drivers
// that do not know the question, the error is [ErrNotSupported] or [ErrInvalidArgument].
func (d Device) RecoveryAction() (RecoveryAction, error) {
	v := fieldValue{field: fieldRecoveryAction}
	if err := d.lib.call(deviceFields, d.handle, 1, uintptr(unsafe.Pointer(&v))); err != nil {
		return 0, err
	}
	if outcome := Return(v.outcome); outcome != Success {
		return 0, outcome
	}
	if v.kind != valueUnsignedInt && v.kind != valueSignedInt {
		return 0, ErrUnknown
	}
	return RecoveryAction(binary.NativeEndian.Uint32(v.value[:])), nil
}
