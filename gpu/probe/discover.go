package probe

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// reasonNoDriver is the reason why a machine without an NVIDIA driver has no GPU.
const reasonNoDriver = "no NVIDIA driver is loaded " +
	"(none of /proc/driver/nvidia, /dev/nvidiactl and /dev/dxg exists)"

// driverFilesTimeout is how long DiscoverWith waits for the driver's files. The kernel answers at
// once, unless the driver is stuck and holds its locks.
const driverFilesTimeout = 5 * time.Second

// Discover returns the machine's GPUs. It asks NVML within this process and, if NVML gives no
// answer, reads the driver's files. Source and Reason of the inventory say what happened.
//
// Discover never fails, but it hangs or crashes if NVML does. A program that must survive that uses
// [DiscoverWith].
func Discover(o Options) gpu.Inventory {
	p := newLocalProbe(o)
	defer p.Close()
	return p.Inventory()
}

// DiscoverWith returns the machine's GPUs. It asks NVML through the client's child for no longer
// than ctx allows and, if that gives no answer, reads the driver's files. Source and Reason of the
// inventory say what happened. On a machine without a driver no child is started.
//
// DiscoverWith never fails, and it returns even if NVML and the driver hang. The client's child
// must use the same options.
func DiscoverWith(ctx context.Context, c *Client, o Options) gpu.Inventory {
	if o.Library == "" && !DriverPresent(o.Root) {
		return withoutDevices(o.Root, reasonNoDriver)
	}
	begin := time.Now()
	inv, err := c.Inventory(ctx)
	if err == nil {
		return inv
	}
	reason := err.Error()
	if errors.Is(err, context.DeadlineExceeded) {
		reason = fmt.Sprintf("NVML did not answer within %v", grantedTime(ctx, begin))
		if hang := new(gpu.HangError); errors.As(err, &hang) && hang.Call != "" {
			reason += " (it has not returned from " + hang.Call + ")"
		}
	}
	return inventoryWithin(driverFilesTimeout, reason, func() gpu.Inventory {
		return driverInventory(o.Root, reason)
	})
}

// grantedTime returns the time that ctx granted, rounded to what the caller probably asked for.
func grantedTime(ctx context.Context, begin time.Time) time.Duration {
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

// inventoryWithin returns what read returns, or an empty inventory if read takes longer than the
// limit. The goroutine that reads then stays until the kernel answers, which is better than a
// caller that hangs.
func inventoryWithin(limit time.Duration, reason string, read func() gpu.Inventory) gpu.Inventory {
	answer := make(chan gpu.Inventory, 1)
	go func() { answer <- read() }()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case inv := <-answer:
		return inv
	case <-timer.C:
		return emptyInventory(fmt.Sprintf(
			"%s; the driver's files in %s could not be read within %v either",
			reason, driverFolder, limit))
	}
}

// driverInventory returns the inventory that the driver's files give. The reason says why NVML
// gave none.
func driverInventory(root, reason string) gpu.Inventory {
	if reason == reasonNoDriver {
		return withoutDevices(root, reason)
	}
	all, err := driverDevices(root)
	if err != nil {
		return withoutDevices(root,
			fmt.Sprintf("%s; cannot read the driver's files: %v", reason, err))
	}
	if len(all) == 0 {
		return withoutDevices(root,
			fmt.Sprintf("%s; the driver's files in %s list no GPU", reason, driverFolder))
	}
	devices, missing := withDeviceFile(root, all)
	if len(devices) == 0 {
		return withoutDevices(root, fmt.Sprintf("%s; the driver's files in %s list %d GPUs, but "+
			"none has a device file here (%s)", reason, driverFolder, len(all), missing))
	}
	reason = fmt.Sprintf("%s; using the driver's files in %s", reason, driverFolder)
	if missing != "" {
		reason += fmt.Sprintf(", without the GPUs that have no device file here (%s)", missing)
	}
	return gpu.Inventory{
		Source:        gpu.SourceDriver,
		Reason:        reason,
		DriverVersion: driverVersion(root),
		Devices:       devices,
	}
}
