/* The processes that compute on a GPU, in the three documented layouts and an undocumented one. */
#include "fake.h"

#include <string.h>

static int runs_on(const struct process *p, const struct instance *in)
{
	return !in || (p->gi == in->gi && p->ci == in->ci);
}

/* Every layout is the beginning of the longest one. */
static void put(char *out, size_t size, struct process p)
{
	nvmlProcessDetail_v1_t record = {0};
	record.pid = p.pid;
	record.usedGpuMemory = p.used;
	record.gpuInstanceId = p.gi;
	record.computeInstanceId = p.ci;
	memcpy(out, &record, size);
}

static nvmlReturn_t list(nvmlDevice_t device, unsigned int *count, char *out, size_t size)
{
	struct device *d = device_of(device);
	struct instance *in = instance_of(device);
	if (!d || !count) return NVML_ERROR_INVALID_ARGUMENT;
	unsigned int calls = __atomic_fetch_add(&d->process_calls, 1, __ATOMIC_SEQ_CST);
	unsigned int extra = d->process_growth * calls;
	unsigned int room = *count, n = 0;
	for (size_t i = 0; i < d->n_processes; i++) {
		if (!runs_on(&d->processes[i], in)) continue;
		if (n < room) put(out + n * size, size, d->processes[i]);
		n++;
	}
	for (unsigned int i = 0; i < extra; i++, n++)
		if (n < room)
			put(out + n * size, size, (struct process){100000 + i, 1 << 20, ~0u, ~0u, ""});
	*count = n;
	return n > room ? NVML_ERROR_INSUFFICIENT_SIZE : NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetComputeRunningProcesses(nvmlDevice_t device,
                                                         unsigned int *infoCount,
                                                         nvmlProcessInfo_v1_t *infos)
{
	ENTER_DEVICE(device);
	return list(device, infoCount, (char *)infos, sizeof *infos);
}

EXPORT nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v2(nvmlDevice_t device,
                                                            unsigned int *infoCount,
                                                            nvmlProcessInfo_v2_t *infos)
{
	ENTER_DEVICE(device);
	return list(device, infoCount, (char *)infos, sizeof *infos);
}

EXPORT nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t device,
                                                            unsigned int *infoCount,
                                                            nvmlProcessInfo_t *infos)
{
	ENTER_DEVICE(device);
	size_t size = machine->wide_processes ? sizeof(nvmlProcessDetail_v1_t) : sizeof *infos;
	return list(device, infoCount, (char *)infos, size);
}

EXPORT nvmlReturn_t nvmlSystemGetProcessName(unsigned int pid, char *name, unsigned int length)
{
	ENTER;
	for (size_t i = 0; i < machine->n_devices; i++) {
		struct device *d = &machine->devices[i];
		for (size_t j = 0; j < d->n_processes; j++)
			if (d->processes[j].pid == pid && *d->processes[j].name)
				return give_text(name, length, d->processes[j].name);
	}
	return NVML_ERROR_NOT_FOUND;
}
