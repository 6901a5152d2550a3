/* What a GPU reports about its health. A MIG instance reports little of it. */
#include "fake.h"

#include <string.h>

#define HEALTH(h, handle, knows) \
	struct device *d_ = whole_gpu(handle); \
	if (!d_) return NVML_ERROR_INVALID_ARGUMENT; \
	struct health *h = &d_->health; \
	if (!h->knows) return NVML_ERROR_NOT_SUPPORTED

EXPORT nvmlReturn_t nvmlDeviceGetEccMode(nvmlDevice_t device, nvmlEnableState_t *current,
                                         nvmlEnableState_t *pending)
{
	ENTER_DEVICE(device);
	HEALTH(h, device, knows_ecc_mode);
	*current = (nvmlEnableState_t)h->ecc_current;
	*pending = (nvmlEnableState_t)h->ecc_pending;
	return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlDevice_t device,
                                                nvmlMemoryErrorType_t errorType,
                                                nvmlEccCounterType_t counterType,
                                                unsigned long long *eccCounts)
{
	ENTER_DEVICE(device);
	HEALTH(h, device, knows_ecc);
	/* In MIG mode only the instances count volatile errors. */
	if (d_->mig_current && counterType == NVML_VOLATILE_ECC) return NVML_ERROR_NOT_SUPPORTED;
	if (errorType > 1 || counterType > 1) return NVML_ERROR_INVALID_ARGUMENT;
	*eccCounts = h->ecc[errorType][counterType];
	return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetMemoryErrorCounter(nvmlDevice_t device,
                                                    nvmlMemoryErrorType_t errorType,
                                                    nvmlEccCounterType_t counterType,
                                                    nvmlMemoryLocation_t locationType,
                                                    unsigned long long *count)
{
	ENTER_DEVICE(device);
	struct instance *in = instance_of(device);
	if (!in || errorType != NVML_MEMORY_ERROR_TYPE_UNCORRECTED ||
	    counterType != NVML_VOLATILE_ECC || locationType != NVML_MEMORY_LOCATION_SRAM)
		return NVML_ERROR_NOT_SUPPORTED;
	*count = in->sram_errors;
	return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetRemappedRows(nvmlDevice_t device, unsigned int *corrRows,
                                              unsigned int *uncRows, unsigned int *isPending,
                                              unsigned int *failureOccurred)
{
	ENTER_DEVICE(device);
	HEALTH(h, device, knows_remapped);
	if (d_->mig_current && d_->n_instances) return NVML_ERROR_NOT_SUPPORTED;
	*corrRows = h->remapped_corrected;
	*uncRows = h->remapped_uncorrected;
	*isPending = h->remap_pending;
	*failureOccurred = h->remap_failed;
	return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetSramEccErrorStatus(nvmlDevice_t device,
                                                    nvmlEccSramErrorStatus_t *status)
{
	ENTER_DEVICE(device);
	HEALTH(h, device, knows_sram);
	if (status->version != nvmlEccSramErrorStatus_v1) return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
	memset(status, 0xdd, sizeof *status);
	status->bThresholdExceeded = h->sram_threshold;
	return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetRowRemapperHistogram(nvmlDevice_t device,
                                                      nvmlRowRemapperHistogramValues_t *values)
{
	ENTER_DEVICE(device);
	HEALTH(h, device, knows_spare);
	*values = (nvmlRowRemapperHistogramValues_t){h->spare_rows[0], h->spare_rows[1],
	                                             h->spare_rows[2], h->spare_rows[3],
	                                             h->spare_rows[4]};
	return NVML_SUCCESS;
}

static nvmlReturn_t give_clock_reasons(nvmlDevice_t device, unsigned long long *reasons)
{
	HEALTH(h, device, knows_clocks);
	*reasons = h->clock_reasons;
	return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetCurrentClocksEventReasons(nvmlDevice_t device,
                                                           unsigned long long *clocksEventReasons)
{
	ENTER_DEVICE(device);
	return give_clock_reasons(device, clocksEventReasons);
}

EXPORT nvmlReturn_t nvmlDeviceGetCurrentClocksThrottleReasons(
	nvmlDevice_t device, unsigned long long *clocksThrottleReasons)
{
	ENTER_DEVICE(device);
	return give_clock_reasons(device, clocksThrottleReasons);
}

EXPORT nvmlReturn_t nvmlDeviceGetRetiredPagesPendingStatus(nvmlDevice_t device,
                                                           nvmlEnableState_t *isPending)
{
	ENTER_DEVICE(device);
	HEALTH(h, device, knows_retired);
	*isPending = (nvmlEnableState_t)h->retired_pending;
	return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetGpuFabricInfo(nvmlDevice_t device,
                                               nvmlGpuFabricInfo_t *gpuFabricInfo)
{
	ENTER_DEVICE(device);
	HEALTH(h, device, knows_fabric);
	memset(gpuFabricInfo->clusterUuid, 0xcc, sizeof gpuFabricInfo->clusterUuid);
	gpuFabricInfo->status = (nvmlReturn_t)h->fabric_status;
	gpuFabricInfo->cliqueId = 7;
	gpuFabricInfo->state = (nvmlGpuFabricState_t)h->fabric_state;
	return NVML_SUCCESS;
}

/* Version 3 begins like version 2. */
EXPORT nvmlReturn_t nvmlDeviceGetGpuFabricInfoV(nvmlDevice_t device,
                                                nvmlGpuFabricInfoV_t *gpuFabricInfo)
{
	ENTER_DEVICE(device);
	HEALTH(h, device, knows_fabric);
	unsigned int version = gpuFabricInfo->version;
	if (version != nvmlGpuFabricInfo_v2 && version != nvmlGpuFabricInfo_v3)
		return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
	if (version >> 24 > machine->fabric_version) return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
	memset(gpuFabricInfo->clusterUuid, 0xcc, sizeof gpuFabricInfo->clusterUuid);
	gpuFabricInfo->status = (nvmlReturn_t)h->fabric_status;
	gpuFabricInfo->cliqueId = 7;
	gpuFabricInfo->state = (nvmlGpuFabricState_t)h->fabric_state;
	gpuFabricInfo->healthMask = h->fabric_mask;
	if (version == nvmlGpuFabricInfo_v3)
		gpuFabricInfo->healthSummary = (unsigned char)h->fabric_summary;
	return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t device, int valuesCount,
                                             nvmlFieldValue_t *values)
{
	ENTER_DEVICE(device);
	struct device *d = whole_gpu(device);
	if (!d || valuesCount < 1 || !values) return NVML_ERROR_INVALID_ARGUMENT;
	for (int i = 0; i < valuesCount; i++) {
		nvmlFieldValue_t *v = &values[i];
		int known = v->fieldId == NVML_FI_DEV_GET_GPU_RECOVERY_ACTION && d->health.knows_recovery;
		v->nvmlReturn = known ? NVML_SUCCESS : NVML_ERROR_NOT_SUPPORTED;
		v->valueType = NVML_VALUE_TYPE_UNSIGNED_INT;
		memset(&v->value, 0xee, sizeof v->value); /* the rest is undefined */
		v->value.uiVal = d->health.recovery;
	}
	return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetPersistenceMode(nvmlDevice_t device, nvmlEnableState_t *mode)
{
	ENTER_DEVICE(device);
	HEALTH(h, device, knows_persistence);
	*mode = (nvmlEnableState_t)h->persistence;
	return NVML_SUCCESS;
}
