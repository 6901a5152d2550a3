//go:build linux && !nonvml

package nvml

import (
	"errors"
	"fmt"
)

// Return is the result of an NVML call (nvmlReturn_t). Every value except [Success] is an error.
// Test for one with [errors.Is]. The texts do not come from the library, so they exist even if it
// cannot be loaded.
type Return int32

// The results that nvml.h names (NVML_SUCCESS, NVML_ERROR_*).
const (
	Success                    Return = 0
	ErrUninitialized           Return = 1
	ErrInvalidArgument         Return = 2
	ErrNotSupported            Return = 3
	ErrNoPermission            Return = 4
	ErrAlreadyInitialized      Return = 5
	ErrNotFound                Return = 6
	ErrInsufficientSize        Return = 7
	ErrInsufficientPower       Return = 8
	ErrDriverNotLoaded         Return = 9
	ErrTimeout                 Return = 10
	ErrIRQIssue                Return = 11
	ErrLibraryNotFound         Return = 12
	ErrFunctionNotFound        Return = 13
	ErrCorruptedInforom        Return = 14
	ErrGPUIsLost               Return = 15
	ErrResetRequired           Return = 16
	ErrOperatingSystem         Return = 17
	ErrLibRMVersionMismatch    Return = 18
	ErrInUse                   Return = 19
	ErrMemory                  Return = 20
	ErrNoData                  Return = 21
	ErrVGPUECCNotSupported     Return = 22
	ErrInsufficientResources   Return = 23
	ErrFreqNotSupported        Return = 24
	ErrArgumentVersionMismatch Return = 25
	ErrDeprecated              Return = 26
	ErrNotReady                Return = 27
	ErrGPUNotFound             Return = 28
	ErrInvalidState            Return = 29
	ErrResetTypeNotSupported   Return = 30
	ErrUnknown                 Return = 999
)

var returnTexts = map[Return]string{
	Success:                    "success",
	ErrUninitialized:           "not initialized",
	ErrInvalidArgument:         "invalid argument",
	ErrNotSupported:            "not supported",
	ErrNoPermission:            "no permission",
	ErrAlreadyInitialized:      "already initialized",
	ErrNotFound:                "not found",
	ErrInsufficientSize:        "buffer too small",
	ErrInsufficientPower:       "GPU power cables not attached properly",
	ErrDriverNotLoaded:         "NVIDIA driver not loaded",
	ErrTimeout:                 "timed out",
	ErrIRQIssue:                "kernel has an interrupt problem with a GPU",
	ErrLibraryNotFound:         "library not found",
	ErrFunctionNotFound:        "function not in this library",
	ErrCorruptedInforom:        "infoROM is corrupted",
	ErrGPUIsLost:               "GPU is lost",
	ErrResetRequired:           "GPU needs a reset",
	ErrOperatingSystem:         "blocked by the operating system or a cgroup",
	ErrLibRMVersionMismatch:    "library and driver have different versions",
	ErrInUse:                   "GPU is in use",
	ErrMemory:                  "out of memory",
	ErrNoData:                  "no data",
	ErrVGPUECCNotSupported:     "not available while ECC is enabled",
	ErrInsufficientResources:   "out of resources",
	ErrFreqNotSupported:        "frequency not supported",
	ErrArgumentVersionMismatch: "argument version not supported",
	ErrDeprecated:              "function withdrawn",
	ErrNotReady:                "not ready",
	ErrGPUNotFound:             "no GPU found",
	ErrInvalidState:            "wrong state for this operation",
	ErrResetTypeNotSupported:   "reset type not supported",
	ErrUnknown:                 "unknown error",
}

// Error returns the meaning of the result and NVML's number for it.
func (r Return) Error() string {
	text, known := returnTexts[r]
	if !known {
		text = "error without a name"
	}
	return fmt.Sprintf("NVML: %s (code %d)", text, int32(r))
}

// missingFunctionError is the error for a C function that the loaded library does not export.
type missingFunctionError string

func (name missingFunctionError) Error() string {
	return fmt.Sprintf("NVML: this library has no %s (code %d)",
		string(name), int32(ErrFunctionNotFound))
}

func (missingFunctionError) Unwrap() error { return ErrFunctionNotFound }

// tooNew reports whether err means that this library or driver does not know the version of the
// function that was called, so that an older version may work.
func tooNew(err error) bool {
	return errors.Is(err, ErrFunctionNotFound) || errors.Is(err, ErrArgumentVersionMismatch)
}
