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
			t.Errorf("the text of %d is %q, want %q", int32(r), got, want)
		}
	}
}

// TestReturnsArrive checks that every return code becomes the error with the same number, also if
// this package has no name for it.
func TestReturnsArrive(t *testing.T) {
	path := nvmltest.Install(t, eightGPUs())
	lib := openLibrary(t, path)
	for code := 1; code <= 1000; code++ {
		if code == 40 {
			code = 998
		}
		nvmltest.Change(t, path, eightGPUs().With(nvmltest.Fail(code).In("nvmlShutdown")))
		if err := lib.Shutdown(); !errors.Is(err, Return(code)) {
			t.Errorf("code %d arrived as %v", code, err)
		}
	}
}

func TestMissingFunctionError(t *testing.T) {
	err := fmt.Errorf("wrapped: %w", missingFunctionError("nvmlFoo"))
	if !errors.Is(err, ErrFunctionNotFound) {
		t.Errorf("%v is not ErrFunctionNotFound", err)
	}
	if errors.Is(err, ErrNotFound) {
		t.Errorf("%v is ErrNotFound", err)
	}
	if !strings.Contains(err.Error(), "nvmlFoo") {
		t.Errorf("%v does not name the function", err)
	}
}

func TestInit(t *testing.T) {
	lib := openLibrary(t, nvmltest.Install(t, eightGPUs()))
	if _, err := lib.DeviceCount(); !errors.Is(err, ErrUninitialized) {
		t.Errorf("before Init, DeviceCount() gives %v, want ErrUninitialized", err)
	}
	if err := lib.Init(); err != nil {
		t.Fatal(err)
	}
	if err := lib.Shutdown(); err != nil {
		t.Fatal(err)
	}
	if _, err := lib.DeviceCount(); !errors.Is(err, ErrUninitialized) {
		t.Errorf("after Shutdown, DeviceCount() gives %v, want ErrUninitialized", err)
	}
}

func TestInitFails(t *testing.T) {
	lib := openLibrary(t, nvmltest.Install(t, eightGPUs().FailsToStart()))
	if err := lib.Init(); !errors.Is(err, ErrLibRMVersionMismatch) {
		t.Errorf("Init() gives %v, want ErrLibRMVersionMismatch", err)
	}
}
