/* Events. They are delivered in the machine's order, and once in each process. An event that
 * nobody has registered for when its turn comes is lost. A new machine can have more at the end. */
#include "fake.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_DEVICES = 64 };

struct event_set { unsigned long long types[MOST_DEVICES]; };

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static size_t next_event;
static unsigned long repeated; /* how many times next_event has been delivered */

/* Like a device handle, this is a pointer in one header and a struct of a pointer in the other. */
static struct event_set *set_of(nvmlEventSet_t set)
{
	struct event_set *s;
	_Static_assert(sizeof s == sizeof set, "an event set is as large as a pointer");
	memcpy(&s, &set, sizeof s);
	return s;
}

EXPORT nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *set)
{
	ENTER;
	struct event_set *s = calloc(1, sizeof *s);
	if (!set || !s) return NVML_ERROR_INVALID_ARGUMENT;
	memcpy(set, &s, sizeof s);
	return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlEventSetFree(nvmlEventSet_t set)
{
	ENTER;
	free(set_of(set));
	return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetSupportedEventTypes(nvmlDevice_t device,
                                                     unsigned long long *eventTypes)
{
	ENTER_DEVICE(device);
	struct device *d = whole_gpu(device);
	if (!d || !eventTypes) return NVML_ERROR_INVALID_ARGUMENT;
	*eventTypes = d->event_types;
	return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t device, unsigned long long eventTypes,
                                             nvmlEventSet_t set)
{
	ENTER_DEVICE(device);
	struct device *d = whole_gpu(device);
	int i = device_number(device);
	if (!d || !set_of(set) || i >= MOST_DEVICES) return NVML_ERROR_INVALID_ARGUMENT;
	if (eventTypes & ~d->event_types) return NVML_ERROR_NOT_SUPPORTED;
	set_of(set)->types[i] |= eventTypes;
	return NVML_SUCCESS;
}

/* Takes the next event that the set is registered for, if there is one. */
static int take(struct event_set *s, struct event *e)
{
	int found = 0;
	pthread_mutex_lock(&turn);
	while (!found && next_event < machine->n_events) {
		*e = machine->events[next_event];
		found = repeated < e->count && e->device < MOST_DEVICES && s->types[e->device] & e->type;
		repeated++;
		if (!found || repeated >= e->count) next_event++, repeated = 0;
	}
	pthread_mutex_unlock(&turn);
	return found;
}

static int take_within(struct event_set *s, struct event *e, unsigned int milliseconds)
{
	for (; !take(s, e); milliseconds--) {
		if (!milliseconds) return 0;
		nanosleep(&(struct timespec){0, 1000000}, NULL);
		look_again();
	}
	return 1;
}

/* Version 1 of the struct ends after eventData. */
static nvmlReturn_t wait_for(nvmlEventSet_t set, nvmlEventData_t *data, unsigned int timeoutms,
                             int version)
{
	struct event e;
	if (!set_of(set) || !data) return NVML_ERROR_INVALID_ARGUMENT;
	if (!take_within(set_of(set), &e, timeoutms)) return NVML_ERROR_TIMEOUT;
	data->device = make_handle(e.device, 0);
	data->eventType = e.type;
	data->eventData = e.data;
	if (version >= 2) {
		data->gpuInstanceId = e.gi;
		data->computeInstanceId = e.ci;
	}
	return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlEventSetWait(nvmlEventSet_t set, nvmlEventData_t *data,
                                     unsigned int timeoutms)
{
	ENTER;
	return wait_for(set, data, timeoutms, 1);
}

EXPORT nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEventData_t *data,
                                        unsigned int timeoutms)
{
	ENTER;
	return wait_for(set, data, timeoutms, 2);
}
