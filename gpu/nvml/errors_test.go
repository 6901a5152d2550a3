//go:build linux && !nonvml

package nvml

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

func TestReturnText(t *testing.T) {
	for r, want := range map[Return]string{
		ErrGPUIsLost: "NVML: GPU is lost (code 15)",
		Return(4711): "NVML: error without a name (code 4711)",
	} {
		if got := r.Error(); got != want {
			t.Errorf("%d: %q, want %q", r, got, want)
		}
	}
}

// Every outcome arrives as itself, also those that this package has no name for.
func TestReturnsArrive(t *testing.T) {
	path := nvmltest.Install(t, nvmltest.EightGPUs(node0, node1))
	lib := open1(t, path)
	for code := 1; code <= 1000; code++ {
		if code == 40 {
			code = 998
		}
		nvmltest.Change(t, path, nvmltest.EightGPUs(node0, node1).With(
			nvmltest.Behavior{Function: "nvmlShutdown", Device: nvmltest.AllDevices, Action: nvmltest.Fail(code)}))
		if err := lib.Shutdown(); !errors.Is(err, Return(code)) {
			t.Errorf("code %d arrived as %v", code, err)
		}
	}
}

func TestMissingFunctionError(t *testing.T) {
	err := fmt.Errorf("wrapped: %w", missingFunctionError("nvmlFoo"))
	if !errors.Is(err, ErrFunctionNotFound) || errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "nvmlFoo") {
		t.Error(err)
	}
}

func TestInit(t *testing.T) {
	m := nvmltest.EightGPUs(node0, node1)
	m.LogCalls = true
	path := nvmltest.Install(t, m)
	lib := open1(t, path)
	if _, err := lib.DeviceCount(); !errors.Is(err, ErrUninitialized) {
		t.Errorf("before Init: %v", err)
	}
	if err := lib.Init(); err != nil {
		t.Fatal(err)
	}
	if err := lib.Shutdown(); err != nil {
		t.Fatal(err)
	}
	if _, err := lib.DeviceCount(); !errors.Is(err, ErrUninitialized) {
		t.Errorf("after Shutdown: %v", err)
	}
}

func TestInitFails(t *testing.T) {
	lib := open1(t, nvmltest.Install(t, nvmltest.EightGPUs(node0, node1).FailsToStart()))
	if err := lib.Init(); !errors.Is(err, ErrLibRMVersionMismatch) {
		t.Error(err)
	}
}
