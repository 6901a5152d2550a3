// Package worker is for Go programs that gpulaunch or torchrun starts as workers, one for each
// device.
//
// [Run] is the whole main function of such a program:
//
//	func main() {
//		worker.Run(func(info worker.Info) error {
//			return train(info.Rank, info.WorldSize)
//		})
//	}
//
// It finds out which worker this is, calls the function, and records the error or panic that ends
// it, so that the launcher's report can show it as the cause of the job's failure. A program that
// cannot leave its main function to Run calls [FromEnvironment] first, and [Record] with the error
// that ends it.
//
// The package links none of the launcher, and starts no goroutines.
package worker

import (
	"fmt"
	"math"
	"net"
	"os"
	"strconv"
	"strings"
)

// Info says which worker of a job this process is. Ranks start with 0.
type Info struct {
	// Rank is this worker's number among the WorldSize workers on all machines.
	Rank, WorldSize int
	// LocalRank is this worker's number among the LocalWorldSize workers on this machine. It comes
	// from GPULAUNCH_LOCAL_RANK if that is set, and else from LOCAL_RANK. gpulaunch sets
	// LOCAL_RANK to 0 in every worker that sees only one device, because programs use it as the
	// device's number.
	LocalRank, LocalWorldSize int
	// MasterAddr and MasterPort are the address at which rank 0 listens for the other workers.
	MasterAddr string
	MasterPort int
	// Restart is how often all workers have been started again (TORCHELASTIC_RESTART_COUNT).
	Restart int
	// RunID is the job's name (TORCHELASTIC_RUN_ID).
	RunID string
	// Device is the device that this worker sees (CUDA_VISIBLE_DEVICES), or "" for none.
	Device string
	// DeviceUUID and DevicePCI identify the device (GPULAUNCH_GPU_UUID, GPULAUNCH_GPU_PCI). They
	// are "" if unknown.
	DeviceUUID, DevicePCI string
}

// FromEnvironment reads the environment variables that the launcher has set. It returns an error
// if the program was not started by a launcher, or if a variable is invalid.
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
	e.less("RANK", i.Rank, "WORLD_SIZE", i.WorldSize)
	e.less(localRank, i.LocalRank, "LOCAL_WORLD_SIZE", i.LocalWorldSize)
	if e.err != nil {
		return Info{}, e.err
	}
	return i, nil
}

// Master returns MasterAddr and MasterPort in the form host:port, which net.Dial and net.Listen
// take. IPv6 addresses are in brackets.
func (i Info) Master() string {
	host := strings.TrimSuffix(strings.TrimPrefix(i.MasterAddr, "["), "]")
	return net.JoinHostPort(host, strconv.Itoa(i.MasterPort))
}

// environment reads environment variables and keeps the first error.
type environment struct{ err error }

func (e *environment) fail(format string, args ...any) {
	if e.err == nil {
		e.err = fmt.Errorf(format+": start this program with gpulaunch run", args...)
	}
}

// text returns the value of a variable that must not be empty.
func (e *environment) text(name string) string {
	value := os.Getenv(name)
	if value == "" {
		e.fail("%s is not set", name)
	}
	return value
}

// number returns the value of a variable that must be a whole number from low to high.
func (e *environment) number(name string, low, high int) int {
	value := e.text(name)
	n, err := strconv.Atoi(value)
	if err != nil || n < low || n > high {
		e.fail("%s is %q, not a whole number from %d to %d", name, value, low, high)
	}
	return n
}

// less requires that a rank is less than the number of workers.
func (e *environment) less(name string, rank int, sizeName string, size int) {
	if rank >= size {
		e.fail("%s is %d, but it must be less than %s, which is %d", name, rank, sizeName, size)
	}
}
