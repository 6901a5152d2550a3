/* Functions that gpulaunch must never call. The first one changes the calling thread's affinity.
 * The second one returns the node of the GPU's own memory, not the node of the CPUs next to it. */
#include "fake.h"

#include <stdio.h>
#include <stdlib.h>

static void forbidden(const char *function)
{
	fprintf(stderr, "fake NVML: %s was called\n", function);
	abort();
}

EXPORT nvmlReturn_t nvmlDeviceSetCpuAffinity(nvmlDevice_t device)
{
	(void)device;
	forbidden(__func__);
	return NVML_ERROR_UNKNOWN;
}

EXPORT nvmlReturn_t nvmlDeviceGetNumaNodeId(nvmlDevice_t device, unsigned int *node)
{
	(void)device, (void)node;
	forbidden(__func__);
	return NVML_ERROR_UNKNOWN;
}
