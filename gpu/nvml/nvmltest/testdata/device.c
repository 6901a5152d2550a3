/* What a GPU reports about itself. Some of it a MIG instance reports as well. */
#include "fake.h"

#include <stdio.h>
#include <string.h>

/* ANY finds the GPU of any handle, WHOLE only that of a handle that is not a MIG instance. */
#define ANY(d, handle) \
	struct device *d = device_of(handle); \
	if (!d) return NVML_ERROR_INVALID_ARGUMENT
#define WHOLE(d, handle) \
	struct device *d = whole_gpu(handle); \
	if (!d) return NVML_ERROR_INVALID_ARGUMENT

EXPORT nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned int length)
{
	ENTER_DEVICE(device);
	ANY(d, device);
	struct instance *in = instance_of(device);
	return give_text(name, length, in ? in->name : d->name);
}

EXPORT nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned int length)
{
	ENTER_DEVICE(device);
	ANY(d, device);
	struct instance *in = instance_of(device);
	return give_text(uuid, length, in ? in->uuid : d->uuid);
}

/* Version 1 of the struct ends after pciDeviceId. */
static nvmlReturn_t give_pci(nvmlDevice_t device, nvmlPciInfo_t *pci, int version)
{
	ANY(d, device);
	if (!pci) return NVML_ERROR_INVALID_ARGUMENT;
	snprintf(pci->busIdLegacy, sizeof pci->busIdLegacy, "%04X:%02X:%02X.0", d->domain & 0xffff,
	         d->bus & 0xff, d->device & 0xff);
	pci->domain = d->domain;
	pci->bus = d->bus;
	pci->device = d->device;
	pci->pciDeviceId = d->pci_id;
	if (version >= 2) pci->pciSubSystemId = 0x16c110de;
	if (version >= 3)
		snprintf(pci->busId, sizeof pci->busId, "%08X:%02X:%02X.0", d->domain, d->bus, d->device);
	return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetPciInfo(nvmlDevice_t device, nvmlPciInfo_t *pci)
{
	ENTER_DEVICE(device);
	return give_pci(device, pci, 1);
}

EXPORT nvmlReturn_t nvmlDeviceGetPciInfo_v2(nvmlDevice_t device, nvmlPciInfo_t *pci)
{
	ENTER_DEVICE(device);
	return give_pci(device, pci, 2);
}

EXPORT nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *pci)
{
	ENTER_DEVICE(device);
	return give_pci(device, pci, 3);
}

EXPORT nvmlReturn_t nvmlDeviceGetMinorNumber(nvmlDevice_t device, unsigned int *minorNumber)
{
	ENTER_DEVICE(device);
	WHOLE(d, device);
	*minorNumber = d->minor;
	return NVML_SUCCESS;
}

static struct memory *memory_of(nvmlDevice_t device)
{
	struct instance *in = instance_of(device);
	struct device *d = device_of(device);
	return in ? &in->memory : d ? &d->memory : NULL;
}

EXPORT nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory)
{
	ENTER_DEVICE(device);
	struct memory *m = memory_of(device);
	if (!m) return NVML_ERROR_INVALID_ARGUMENT;
	/* Version 1 has no field for reserved memory and counts it as used. */
	*memory = (nvmlMemory_t){.total = m->total, .free = m->free, .used = m->used + m->reserved};
	return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *memory)
{
	ENTER_DEVICE(device);
	struct memory *m = memory_of(device);
	if (!m) return NVML_ERROR_INVALID_ARGUMENT;
	if (memory->version != nvmlMemory_v2) return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
	memory->total = m->total;
	memory->reserved = m->reserved;
	memory->free = m->free;
	memory->used = m->used;
	return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device,
                                                  nvmlUtilization_t *utilization)
{
	ENTER_DEVICE(device);
	WHOLE(d, device);
	if (d->mig_current) return NVML_ERROR_NOT_SUPPORTED;
	*utilization = (nvmlUtilization_t){.gpu = d->gpu_util, .memory = d->memory_util};
	return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device,
                                             nvmlTemperatureSensors_t sensorType,
                                             unsigned int *temp)
{
	ENTER_DEVICE(device);
	WHOLE(d, device);
	if (sensorType != 0) return NVML_ERROR_INVALID_ARGUMENT;
	*temp = (unsigned int)d->temperature;
	return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetTemperatureV(nvmlDevice_t device, nvmlTemperature_t *temperature)
{
	ENTER_DEVICE(device);
	WHOLE(d, device);
	if (temperature->version != nvmlTemperature_v1) return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
	if (temperature->sensorType != 0) return NVML_ERROR_INVALID_ARGUMENT;
	temperature->temperature = d->temperature;
	return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t device, unsigned int *power)
{
	ENTER_DEVICE(device);
	WHOLE(d, device);
	*power = d->power_usage;
	return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetEnforcedPowerLimit(nvmlDevice_t device, unsigned int *limit)
{
	ENTER_DEVICE(device);
	WHOLE(d, device);
	*limit = d->power_limit;
	return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t device, nvmlClockType_t type,
                                           unsigned int *clock)
{
	ENTER_DEVICE(device);
	WHOLE(d, device);
	if (type >= 3) return NVML_ERROR_INVALID_ARGUMENT;
	*clock = d->clock[type];
	return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetMaxClockInfo(nvmlDevice_t device, nvmlClockType_t type,
                                              unsigned int *clock)
{
	ENTER_DEVICE(device);
	WHOLE(d, device);
	if (type != 1 || !d->max_sm_clock) return NVML_ERROR_NOT_SUPPORTED;
	*clock = d->max_sm_clock;
	return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetNumGpuCores(nvmlDevice_t device, unsigned int *numCores)
{
	ENTER_DEVICE(device);
	WHOLE(d, device);
	if (!d->cores) return NVML_ERROR_NOT_SUPPORTED;
	*numCores = d->cores;
	return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetComputeMode(nvmlDevice_t device, nvmlComputeMode_t *mode)
{
	ENTER_DEVICE(device);
	WHOLE(d, device);
	*mode = (nvmlComputeMode_t)d->compute_mode;
	return NVML_SUCCESS;
}

static nvmlReturn_t give_cpus(nvmlDevice_t device, unsigned int size, unsigned long *set)
{
	ANY(d, device);
	if (!size || !set) return NVML_ERROR_INVALID_ARGUMENT;
	if (!d->n_cpus) return NVML_ERROR_NOT_SUPPORTED;
	if (size < d->n_cpus) return NVML_ERROR_INSUFFICIENT_SIZE;
	memset(set, 0, size * sizeof *set);
	memcpy(set, d->cpus, d->n_cpus * sizeof *set);
	return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetCpuAffinity(nvmlDevice_t device, unsigned int cpuSetSize,
                                             unsigned long *cpuSet)
{
	ENTER_DEVICE(device);
	return give_cpus(device, cpuSetSize, cpuSet);
}

EXPORT nvmlReturn_t nvmlDeviceGetCpuAffinityWithinScope(nvmlDevice_t device,
                                                        unsigned int cpuSetSize,
                                                        unsigned long *cpuSet,
                                                        nvmlAffinityScope_t scope)
{
	ENTER_DEVICE(device);
	if (scope > 1) return NVML_ERROR_INVALID_ARGUMENT;
	return give_cpus(device, cpuSetSize, cpuSet);
}
