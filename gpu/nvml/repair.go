//go:build linux && !nonvml

package nvml

import (
	"encoding/binary"
	"fmt"
	"unsafe"
)

// RemappedRows is what became of memory rows that went bad.
type RemappedRows struct {
	// Corrected and Uncorrected are the rows replaced after errors that could and could not be corrected.
	Corrected   uint32
	Uncorrected uint32
	// Pending rows are replaced at the next reset of the GPU.
	Pending bool
	// Failed: there was no row left to replace one with, now or at any time before.
	Failed bool
}

// RemappedRows counts them on cards from Ampere on (nvmlDeviceGetRemappedRows). Older cards, and those with MIG
// instances, give [ErrNotSupported].
func (d Device) RemappedRows() (RemappedRows, error) {
	var corrected, uncorrected, pending, failed uint32
	err := d.lib.call(deviceRemappedRows, d.handle, uintptr(unsafe.Pointer(&corrected)), uintptr(unsafe.Pointer(&uncorrected)),
		uintptr(unsafe.Pointer(&pending)), uintptr(unsafe.Pointer(&failed)))
	return RemappedRows{corrected, uncorrected, pending != 0, failed != 0}, err
}

// RetiredPagesPending says, on cards before Ampere, whether memory pages will be withdrawn at the next reboot
// (nvmlDeviceGetRetiredPagesPendingStatus).
func (d Device) RetiredPagesPending() (bool, error) {
	pending, err := d.number(deviceRetiredPending)
	return pending == featureEnabled, err
}

// PersistenceMode says whether the driver keeps the GPU initialized while nobody uses it
// (nvmlDeviceGetPersistenceMode).
func (d Device) PersistenceMode() (bool, error) {
	mode, err := d.number(devicePersistence)
	return mode == featureEnabled, err
}

// RecoveryAction is what the driver wants done to a GPU before it is used again (nvmlDeviceGpuRecoveryAction_t).
type RecoveryAction uint32

// The recovery actions.
const (
	RecoveryNone          RecoveryAction = 0
	RecoveryGPUReset      RecoveryAction = 1
	RecoveryNodeReboot    RecoveryAction = 2
	RecoveryDrainP2P      RecoveryAction = 3 // let no new work use peer-to-peer
	RecoveryDrainAndReset RecoveryAction = 4
	RecoveryIMEXDomain    RecoveryAction = 5
	RecoveryBusReset      RecoveryAction = 6
	RecoverySystemReboot  RecoveryAction = 7
)

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
	// valueUnsignedInt and valueSignedInt are of nvmlValueType_t.
	valueUnsignedInt = 1
	valueSignedInt   = 5
)

// RecoveryAction asks for it (nvmlDeviceGetFieldValues). Drivers that do not know the question give [ErrNotSupported]
// or [ErrInvalidArgument].
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
