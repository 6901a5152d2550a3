package gpu

import (
	"fmt"
	"time"
)

// HangError says that NVML does not come back from a call.
type HangError struct {
	// Call is the C function, such as "nvmlDeviceGetMemoryInfo_v2", or "" if it is unknown.
	Call string
	// For is how long the call had been running when the error was made. If Call is unknown, it is
	// how long NVML was waited for.
	For time.Duration
	// Err is why it was not waited for any longer, which is usually the error of a context.
	Err error
}

// Error returns one phrase: "NVML has not returned from nvmlDeviceGetMemoryInfo_v2 for 3s".
func (e *HangError) Error() string {
	d := e.For.Round(time.Millisecond)
	if d >= time.Second {
		d = d.Round(100 * time.Millisecond)
	}
	if e.Call == "" {
		return fmt.Sprintf("NVML has not answered for %v", d)
	}
	return fmt.Sprintf("NVML has not returned from %s for %v", e.Call, d)
}

// Unwrap returns Err.
func (e *HangError) Unwrap() error { return e.Err }
