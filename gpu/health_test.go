package gpu_test

import (
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu"
)

func TestHealthy(t *testing.T) {
	for name, test := range map[string]struct {
		device gpu.Device
		want   bool
	}{
		"nothing wrong": {gpu.Device{}, true},
		"problem":       {gpu.Device{Problem: gpu.ProblemNoInstance}, false},
		"finding":       {gpu.Device{Findings: []gpu.Finding{{Code: gpu.CodeLost}}}, false},
	} {
		if got := test.device.Healthy(); got != test.want {
			t.Errorf("%s: Healthy() = %v, want %v", name, got, test.want)
		}
	}
}
