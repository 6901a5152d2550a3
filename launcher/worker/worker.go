// Package worker is for the program that gpulaunch (or torchrun) starts once for each
// device, when it is written in Go: it tells which worker this is, and leaves the
// reason of a failure for the launcher's report.
//
//	func main() {
//		worker.Run(func(info worker.Info) error {
//			return train(info.Rank, info.WorldSize)
//		})
//	}
//
// It links nothing of the launcher.
package worker

import (
	"fmt"
	"math"
	"net"
	"os"
	"strconv"
	"strings"
)

// Info says which worker this is. Ranks count from 0.
type Info struct {
	Rank, WorldSize int // among the workers of all machines
	// LocalRank and LocalWorldSize are about the workers of this machine. LocalRank is
	// GPULAUNCH_LOCAL_RANK where that is set and else LOCAL_RANK, which is 0 in every
	// worker that sees one device only, because programs take it for a device's number.
	LocalRank, LocalWorldSize int
	// MasterAddr and MasterPort are where rank 0 listens for the others.
	MasterAddr string
	MasterPort int
	Restart    int    // TORCHELASTIC_RESTART_COUNT: how often all workers were started again
	RunID      string // TORCHELASTIC_RUN_ID: the job's name
	// Device is CUDA_VISIBLE_DEVICES: what this worker sees; "" for a CPU-only worker.
	Device string
	// DeviceUUID and DevicePCI are GPULAUNCH_GPU_UUID and GPULAUNCH_GPU_PCI; "" when not
	// known.
	DeviceUUID, DevicePCI string
}

// FromEnvironment reads the variables that the launcher has set. The error names the
// variable, its value and what to do.
func FromEnvironment() (Info, error) {
	var e environment
	localRank := "LOCAL_RANK"
	if os.Getenv("GPULAUNCH_LOCAL_RANK") != "" {
		localRank = "GPULAUNCH_LOCAL_RANK"
	}
	i := Info{
		Rank:           e.number("RANK", 0, math.MaxInt32),
		WorldSize:      e.number("WORLD_SIZE", 1, math.MaxInt32),
		LocalRank:      e.number(localRank, 0, math.MaxInt32),
		LocalWorldSize: e.number("LOCAL_WORLD_SIZE", 1, math.MaxInt32),
		MasterAddr:     e.text("MASTER_ADDR"),
		MasterPort:     e.number("MASTER_PORT", 1, math.MaxUint16),
		RunID:          os.Getenv("TORCHELASTIC_RUN_ID"),
		Device:         os.Getenv("CUDA_VISIBLE_DEVICES"),
		DeviceUUID:     os.Getenv("GPULAUNCH_GPU_UUID"),
		DevicePCI:      os.Getenv("GPULAUNCH_GPU_PCI"),
	}
	if os.Getenv("TORCHELASTIC_RESTART_COUNT") != "" {
		i.Restart = e.number("TORCHELASTIC_RESTART_COUNT", 0, math.MaxInt32)
	}
	e.below("RANK", i.Rank, "WORLD_SIZE", i.WorldSize)
	e.below(localRank, i.LocalRank, "LOCAL_WORLD_SIZE", i.LocalWorldSize)
	if e.err != nil {
		return Info{}, e.err
	}
	return i, nil
}

// Master is MasterAddr and MasterPort in one, as net.Dial and net.Listen take them:
// host:port, an IPv6 address in brackets.
func (i Info) Master() string {
	host := strings.TrimSuffix(strings.TrimPrefix(i.MasterAddr, "["), "]")
	return net.JoinHostPort(host, strconv.Itoa(i.MasterPort))
}

// environment reads variables and keeps the first error.
type environment struct{ err error }

func (e *environment) fail(format string, args ...any) {
	if e.err == nil {
		e.err = fmt.Errorf(format+": start this program with gpulaunch run", args...)
	}
}

// text reads a variable that must not be empty.
func (e *environment) text(name string) string {
	value := os.Getenv(name)
	if value == "" {
		e.fail("%s is not set", name)
	}
	return value
}

// number reads a whole number from low to high.
func (e *environment) number(name string, low, high int) int {
	value := e.text(name)
	n, err := strconv.Atoi(value)
	if err != nil || n < low || n > high {
		e.fail("%s is %q, not a whole number from %d to %d", name, value, low, high)
	}
	return n
}

// below checks that ranks stay below the number of workers.
func (e *environment) below(name string, rank int, sizeName string, size int) {
	if rank >= size {
		e.fail("%s is %d, which must be below %s, but that is %d", name, rank, sizeName, size)
	}
}
