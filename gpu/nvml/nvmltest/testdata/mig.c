/* GPUs in MIG mode. */
#include "fake.h"

#include <string.h>

EXPORT nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned int *currentMode,
                                         unsigned int *pendingMode)
{
	ENTER_DEVICE(device);
	struct device *d = whole_gpu(device);
	if (!d) return NVML_ERROR_INVALID_ARGUMENT;
	if (!d->mig_capable) return NVML_ERROR_NOT_SUPPORTED;
	*currentMode = d->mig_current;
	*pendingMode = d->mig_pending;
	return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t device, unsigned int *count)
{
	ENTER_DEVICE(device);
	struct device *d = whole_gpu(device);
	if (!d) return NVML_ERROR_INVALID_ARGUMENT;
	*count = d->mig_current ? 7 : 0;
	return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t device, unsigned int index,
                                                        nvmlDevice_t *migDevice)
{
	ENTER_DEVICE(device);
	struct device *d = whole_gpu(device);
	if (!d || !migDevice) return NVML_ERROR_INVALID_ARGUMENT;
	if (!d->mig_current) return NVML_ERROR_NOT_SUPPORTED;
	nvmlDevice_t handle = make_handle((size_t)device_number(device), index + 1);
	if (index >= d->n_instances || !instance_of(handle)) return NVML_ERROR_NOT_FOUND;
	*migDevice = handle;
	return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetGpuInstanceId(nvmlDevice_t device, unsigned int *id)
{
	ENTER_DEVICE(device);
	struct instance *in = instance_of(device);
	if (!in) return NVML_ERROR_INVALID_ARGUMENT;
	*id = in->gi;
	return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetComputeInstanceId(nvmlDevice_t device, unsigned int *id)
{
	ENTER_DEVICE(device);
	struct instance *in = instance_of(device);
	if (!in) return NVML_ERROR_INVALID_ARGUMENT;
	*id = in->ci;
	return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetAttributes_v2(nvmlDevice_t device,
                                               nvmlDeviceAttributes_t *attributes)
{
	ENTER_DEVICE(device);
	struct instance *in = instance_of(device);
	if (!in || !attributes) return NVML_ERROR_INVALID_ARGUMENT;
	if (!in->gpu_slices) return NVML_ERROR_NOT_SUPPORTED;
	memset(attributes, 0, sizeof *attributes);
	attributes->multiprocessorCount = in->multiprocessors;
	attributes->gpuInstanceSliceCount = in->gpu_slices;
	attributes->computeInstanceSliceCount = in->compute_slices;
	attributes->memorySizeMB = in->memory.total >> 20;
	return NVML_SUCCESS;
}
