package doctor

import (
	"fmt"
	"strings"

	"github.com/gpulaunch/gpulaunch/launcher/terminal"
)

const (
	// fewFiles is less than what a worker with DataLoader processes and NCCL needs: descriptors for
	// pipes, for sockets to each peer, and for each tensor in shared memory. The usual soft limit
	// is 1024.
	fewFiles = 4096
	// fewProcesses is about 8 workers with 16 DataLoader processes of 32 threads each. The limit
	// counts threads (setrlimit(2)).
	fewProcesses = 4096
	// dockerSharedMemory is the size of /dev/shm in a container, unless docker gets --shm-size.
	dockerSharedMemory = 64 << 20
	// smallDisk is enough room for error files and a few small files of the workers.
	smallDisk = 64 << 20
)

// String returns the limit as "1024 (hard limit unlimited)".
func (l Limit) String() string {
	return fmt.Sprintf("%s (hard limit %s)", limitValue(l.Soft), limitValue(l.Hard))
}

func limitValue(n uint64) string {
	if n == Unlimited {
		return "unlimited"
	}
	return fmt.Sprint(n)
}

// lockedMemory matters to RDMA, which locks the memory that it sends from.
func lockedMemory(f Facts) []Result {
	l := f.LockedMemory
	switch {
	case l.Err != nil:
		return unknown("%v", l.Err)
	case l.Soft == Unlimited:
		return ok("unlimited")
	case f.NICsErr != nil:
		return unknown("%s; cannot tell whether there are RDMA devices, which need more: %v",
			terminal.Bytes(l.Soft), f.NICsErr)
	case len(f.NICs) == 0:
		return ok("%s; only RDMA needs more, and there is no RDMA device", terminal.Bytes(l.Soft))
	}
	var names []string
	for _, nic := range f.NICs {
		names = append(names, nic.Name)
	}
	return problem(Warn,
		"raise it with ulimit -l unlimited, in limits.conf, with LimitMEMLOCK=infinity, "+
			"or with docker --ulimit memlock=-1",
		"%s, and RDMA (%s) has to lock all memory that it sends from",
		terminal.Bytes(l.Soft), strings.Join(names, ", "))
}

func openFiles(f Facts) []Result {
	l := f.OpenFiles
	const found = "%s: may be too few for DataLoader workers and NCCL"
	switch {
	case l.Err != nil:
		return unknown("%v", l.Err)
	case l.Soft >= fewFiles:
		return ok("%s", l)
	case l.Hard > l.Soft:
		remedy := fmt.Sprintf("run ulimit -n %d before gpulaunch", min(l.Hard, 65536))
		return problem(Warn, remedy, found, l)
	}
	return problem(Warn,
		"raise it in limits.conf, with LimitNOFILE=65536, or with docker --ulimit nofile=65536",
		found, l)
}

func processes(f Facts) []Result {
	l := f.Processes
	switch {
	case l.Err != nil:
		return unknown("%v", l.Err)
	case l.Soft >= fewProcesses:
		return ok("%s", l)
	}
	return problem(Warn,
		"raise it with ulimit -u, in limits.conf, with LimitNPROC=, or with docker --ulimit nproc=",
		"%s: may be too few, as all processes and threads of the user count", l)
}

// sharedMemory checks the place where DataLoader workers put their batches and NCCL its buffers.
// When it is full, they are killed by SIGBUS.
func sharedMemory(f Facts) []Result {
	s := f.SharedMemory
	switch {
	case isMissing(s.Err), s.Err == nil && !s.Memory:
		return problem(Warn, "mount a tmpfs there: mount -t tmpfs tmpfs /dev/shm",
			"/dev/shm is not mounted: DataLoader workers and NCCL cannot share memory")
	case s.Err != nil:
		return unknown("/dev/shm: %v", s.Err)
	case s.SizeBytes == 0: // tmpfs(5): no limit
		return ok("/dev/shm has no limit")
	case s.SizeBytes <= dockerSharedMemory:
		return problem(Warn,
			"start the container with --shm-size=16g or --ipc=host; give a pod an emptyDir with "+
				"medium Memory there; elsewhere, run mount -o remount,size=… /dev/shm",
			"/dev/shm has %s: DataLoader workers are killed by SIGBUS when it is full",
			terminal.Bytes(s.SizeBytes))
	case s.Unused <= dockerSharedMemory:
		return problem(Warn, "remove the files that earlier jobs left in /dev/shm",
			"/dev/shm has %s, but only %s left",
			terminal.Bytes(s.SizeBytes), terminal.Bytes(s.Unused))
	}
	return ok("/dev/shm has %s, %s left", terminal.Bytes(s.SizeBytes), terminal.Bytes(s.Unused))
}
