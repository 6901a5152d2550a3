package probe

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// reasonNoDriver is why a machine without any trace of a driver has no GPU.
const reasonNoDriver = "no NVIDIA driver is loaded (none of /proc/driver/nvidia, /dev/nvidiactl and /dev/dxg exists)"

// driverFilesBound is how long a supervisor waits for the driver's files. The kernel answers at once, but for a driver
// that is stuck with its locks held.
const driverFilesBound = 5 * time.Second

// Discover finds the machine's GPUs within this process: by NVML, else from the driver's files, else there are none.
// It never fails. It hangs or crashes if NVML does; [DiscoverWith] does not.
func Discover(o Options) gpu.Inventory {
	p := NewProbe(o)
	defer p.Close()
	return p.Inventory()
}

// DiscoverWith finds the machine's GPUs through a child process, for no longer than ctx allows. Where the child gives no
// answer, the driver's files do, and Reason says what happened. No child is started on a machine without a driver.
func DiscoverWith(ctx context.Context, c *Client, o Options) gpu.Inventory {
	if o.Library == "" && !DriverPresent(o.Root) {
		return none(reasonNoDriver)
	}
	begin := time.Now()
	inv, err := c.Inventory(ctx)
	if err == nil {
		return inv
	}
	why := err.Error()
	if errors.Is(err, context.DeadlineExceeded) {
		why = fmt.Sprintf("NVML did not answer within %v", allowed(ctx, begin))
	}
	return bounded(driverFilesBound, func() gpu.Inventory { return withoutNVML(o.Root, why) }, why)
}

// allowed is the time that ctx granted, rounded to what its owner probably wrote.
func allowed(ctx context.Context, begin time.Time) time.Duration {
	end, ok := ctx.Deadline()
	if !ok {
		end = time.Now()
	}
	granted := end.Sub(begin)
	if granted >= time.Second {
		return granted.Round(100 * time.Millisecond)
	}
	return granted.Round(time.Millisecond)
}

// bounded is read's answer, or none at all if read takes longer than the limit. Then the goroutine stays behind until
// the kernel lets go of it, which costs less than a supervisor that stays behind with it.
func bounded(limit time.Duration, read func() gpu.Inventory, why string) gpu.Inventory {
	answer := make(chan gpu.Inventory, 1)
	go func() { answer <- read() }()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case inv := <-answer:
		return inv
	case <-timer.C:
		return none(fmt.Sprintf("%s; the driver's files in %s did not answer within %v either", why, driverFolder, limit))
	}
}

// withoutNVML takes the inventory from the driver's files, having no NVML for the given reason.
func withoutNVML(root, why string) gpu.Inventory {
	if why == reasonNoDriver {
		return none(why)
	}
	devices, err := driverDevices(root)
	if err != nil {
		return none(fmt.Sprintf("%s; the driver's files are no help: %v", why, err))
	}
	if len(devices) == 0 {
		return none(fmt.Sprintf("%s; the driver's files in %s list no GPU", why, driverFolder))
	}
	return gpu.Inventory{
		Source:        gpu.SourceDriver,
		Reason:        fmt.Sprintf("%s; using the driver's files in %s", why, driverFolder),
		DriverVersion: driverVersion(root),
		Devices:       devices,
	}
}
