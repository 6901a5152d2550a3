/* A libnvidia-ml for tests: it serves the machine that the file machine.conf beside it describes. */
#ifndef FAKE_H
#define FAKE_H

#include "abi.h"

#include <stddef.h>
#include <stdint.h>

/* Only what is marked is visible to dlsym. */
#define EXPORT __attribute__((visibility("default")))

/* Texts may hold any byte but NUL. */
typedef char text[256];

struct memory { unsigned long long total, free, used, reserved; };

struct process {
	unsigned int pid;
	unsigned long long used;
	unsigned int gi, ci;
};

/* A place for a MIG instance; without a UUID it is empty. */
struct instance {
	text uuid, name;
	struct memory memory;
	unsigned int gi, ci;
};

struct device {
	text name, uuid;
	unsigned int domain, bus, device, pci_id, minor;
	struct memory memory;
	unsigned int gpu_util, memory_util, power_usage, power_limit, clock[3], compute_mode;
	int temperature;
	int mig_capable;
	unsigned int mig_current, mig_pending;
	unsigned int process_growth, process_calls;
	unsigned long *cpus;
	size_t n_cpus;
	struct instance *instances;
	size_t n_instances;
	struct process *processes;
	size_t n_processes;
};

enum action { RETURN, HANG, SEGFAULT, ABORT, SLEEP, GARBAGE };

/* What a function does instead of its work, or before it. */
struct rule {
	text function; /* may end in '*' */
	int device;    /* -1: any */
	unsigned int after, seen;
	enum action action;
	int arg;
};

struct machine {
	text driver, nvml;
	int cuda;
	int log_calls, wide_processes;
	struct device *devices;
	size_t n_devices;
	struct rule *rules;
	size_t n_rules;
};

struct machine *read_machine(const char *path);

/* The machine as the last enter() found it. */
extern struct machine *machine;

/* Every function begins with one of these. They return early when a rule says so. */
int enter(const char *function, int device, int starts);
#define ENTER_AS(device, starts) \
	do { \
		int forced = enter(__func__, device, starts); \
		if (forced >= 0) return (nvmlReturn_t)forced; \
	} while (0)
#define ENTER ENTER_AS(-1, 0)
#define ENTER_DEVICE(handle) ENTER_AS(device_number(handle), 0)

extern int init_count;

/* Handles are numbers, so that they outlive a new machine.conf and a wild one is noticed. */
nvmlDevice_t make_handle(size_t device, size_t instance_plus_1);
uintptr_t handle_number(nvmlDevice_t handle);
int device_number(nvmlDevice_t handle);
struct device *device_of(nvmlDevice_t handle);
struct instance *instance_of(nvmlDevice_t handle);
/* device_of, but NULL for a MIG instance. */
struct device *whole_gpu(nvmlDevice_t handle);

nvmlReturn_t give_text(char *out, unsigned int size, const char *value);

#endif
