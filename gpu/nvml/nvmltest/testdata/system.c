/* The library as a whole: its initialization, versions, and the handles of devices. */
#include "fake.h"

#include <string.h>

static nvmlReturn_t started(void)
{
	__atomic_add_fetch(&init_count, 1, __ATOMIC_SEQ_CST);
	return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlInit(void) { ENTER_AS(-1, 1); return started(); }
EXPORT nvmlReturn_t nvmlInit_v2(void) { ENTER_AS(-1, 1); return started(); }

EXPORT nvmlReturn_t nvmlInitWithFlags(unsigned int flags)
{
	ENTER_AS(-1, 1);
	return flags > 7 ? NVML_ERROR_INVALID_ARGUMENT : started();
}

EXPORT nvmlReturn_t nvmlShutdown(void)
{
	ENTER;
	__atomic_sub_fetch(&init_count, 1, __ATOMIC_SEQ_CST);
	return NVML_SUCCESS;
}

EXPORT const char *nvmlErrorString(nvmlReturn_t result)
{
	return result == NVML_SUCCESS ? "Success" : "An error of the fake NVML";
}

EXPORT nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned int length)
{
	ENTER;
	return give_text(version, length, machine->driver);
}

EXPORT nvmlReturn_t nvmlSystemGetNVMLVersion(char *version, unsigned int length)
{
	ENTER;
	return give_text(version, length, machine->nvml);
}

static nvmlReturn_t give_cuda(int *version)
{
	if (!version) return NVML_ERROR_INVALID_ARGUMENT;
	*version = machine->cuda;
	return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlSystemGetCudaDriverVersion(int *version)
{
	ENTER;
	return give_cuda(version);
}

EXPORT nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *version)
{
	ENTER;
	return give_cuda(version);
}

static nvmlReturn_t give_count(unsigned int *count)
{
	if (!count) return NVML_ERROR_INVALID_ARGUMENT;
	*count = (unsigned int)machine->n_devices;
	return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetCount(unsigned int *count) { ENTER; return give_count(count); }
EXPORT nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *count) { ENTER; return give_count(count); }

static nvmlReturn_t give_handle(unsigned int index, nvmlDevice_t *device)
{
	if (!device || index >= machine->n_devices) return NVML_ERROR_INVALID_ARGUMENT;
	*device = make_handle(index, 0);
	return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetHandleByIndex(unsigned int index, nvmlDevice_t *device)
{
	ENTER_AS((int)index, 0);
	return give_handle(index, device);
}

EXPORT nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device)
{
	ENTER_AS((int)index, 0);
	return give_handle(index, device);
}

/* The handle is a pointer in nvml.h and a struct of one pointer in go-nvml's copy of it. In the ABI
 * both are the same. */
uintptr_t handle_number(nvmlDevice_t handle)
{
	uintptr_t number;
	_Static_assert(sizeof number == sizeof handle, "a handle is as large as a pointer");
	memcpy(&number, &handle, sizeof number);
	return number;
}

nvmlDevice_t make_handle(size_t device, size_t instance_plus_1)
{
	uintptr_t number = (device + 1) << 8 | instance_plus_1;
	nvmlDevice_t handle;
	memcpy(&handle, &number, sizeof handle);
	return handle;
}

int device_number(nvmlDevice_t handle) { return (int)(handle_number(handle) >> 8) - 1; }

struct device *device_of(nvmlDevice_t handle)
{
	size_t i = (handle_number(handle) >> 8) - 1;
	return i < machine->n_devices ? &machine->devices[i] : NULL;
}

struct instance *instance_of(nvmlDevice_t handle)
{
	struct device *d = device_of(handle);
	size_t i = (handle_number(handle) & 0xff) - 1;
	return d && i < d->n_instances && *d->instances[i].uuid ? &d->instances[i] : NULL;
}

struct device *whole_gpu(nvmlDevice_t handle)
{
	return handle_number(handle) & 0xff ? NULL : device_of(handle);
}
