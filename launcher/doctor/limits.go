package doctor

import (
	"fmt"
	"strings"
)

const (
	// fewFiles is less than what a worker with DataLoader processes and NCCL needs: descriptors for pipes, sockets of each
	// peer, and each tensor in shared memory. The usual soft limit is 1024.
	fewFiles = 4096
	// fewProcesses is about 8 workers with 16 DataLoader processes of 32 threads each; threads count (setrlimit(2)).
	fewProcesses = 4096
	// dockersShm is the size of /dev/shm that Docker gives unless told otherwise.
	dockersShm = 64 << 20
	// smallDisk is room for error files, and a few things of the workers' own.
	smallDisk = 64 << 20
)

func (l Limit) String() string {
	return fmt.Sprintf("%s (hard limit %s)", count(l.Soft), count(l.Hard))
}

func count(n uint64) string {
	if n == Unlimited {
		return "unlimited"
	}
	return fmt.Sprint(n)
}

// lockedMemory matters to RDMA, which pins the memory it sends from.
func lockedMemory(f Facts) []Result {
	l := f.LockedMemory
	switch {
	case l.Err != nil:
		return one(untold("%v", l.Err))
	case l.Soft == Unlimited:
		return one(good("unlimited"))
	case f.NICsErr != nil:
		return one(untold("%s; whether there are RDMA devices, which need more, could not be told: %v", size(l.Soft), f.NICsErr))
	case len(f.NICs) == 0:
		return one(good("%s; it matters to RDMA only, and there is no RDMA device", size(l.Soft)))
	}
	var names []string
	for _, nic := range f.NICs {
		names = append(names, nic.Name)
	}
	return one(bad(Warn, "ulimit -l unlimited, in limits.conf or LimitMEMLOCK=infinity or docker --ulimit memlock=-1",
		"%s, and RDMA (%s) has to lock all that it sends", size(l.Soft), strings.Join(names, ", ")))
}

func openFiles(f Facts) []Result {
	l := f.OpenFiles
	switch {
	case l.Err != nil:
		return one(untold("%v", l.Err))
	case l.Soft >= fewFiles:
		return one(good("%s", l))
	case l.Hard > l.Soft:
		return one(bad(Warn, fmt.Sprintf("ulimit -n %d before the start", min(l.Hard, 65536)), "%s: few for DataLoader workers and NCCL", l))
	}
	return one(bad(Warn, "raise it in limits.conf, with LimitNOFILE= or docker --ulimit nofile=65536", "%s: few for DataLoader workers and NCCL", l))
}

func processes(f Facts) []Result {
	l := f.Processes
	switch {
	case l.Err != nil:
		return one(untold("%v", l.Err))
	case l.Soft >= fewProcesses:
		return one(good("%s", l))
	}
	return one(bad(Warn, "raise it: ulimit -u, limits.conf, LimitNPROC=, docker --ulimit nproc=", "%s: threads count, and all of the user's", l))
}

// sharedMemory is where DataLoader workers leave their batches and NCCL its buffers; when it is full they die of SIGBUS.
func sharedMemory(f Facts) []Result {
	s := f.SharedMemory
	const more = "docker --shm-size=16g or --ipc=host; a pod needs an emptyDir with medium Memory there; else mount -o remount,size=… /dev/shm"
	switch {
	case isMissing(s.Err), s.Err == nil && !s.Memory:
		return one(bad(Warn, "mount a tmpfs there: mount -t tmpfs tmpfs /dev/shm", "/dev/shm is not mounted: DataLoader workers and NCCL cannot share memory"))
	case s.Err != nil:
		return one(untold("/dev/shm: %v", s.Err))
	case s.SizeBytes == 0: // tmpfs(5): no limit
		return one(good("/dev/shm has no limit"))
	case s.SizeBytes <= dockersShm:
		return one(bad(Warn, more, "/dev/shm has %s: DataLoader workers die of SIGBUS when it is full", size(s.SizeBytes)))
	case s.Unused <= dockersShm:
		return one(bad(Warn, "remove what ended jobs left in /dev/shm", "/dev/shm has %s, but only %s left", size(s.SizeBytes), size(s.Unused)))
	}
	return one(good("/dev/shm has %s, %s left", size(s.SizeBytes), size(s.Unused)))
}
