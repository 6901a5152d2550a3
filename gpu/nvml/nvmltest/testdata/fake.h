/* A libnvidia-ml for tests. It serves the machine that machine.conf in its folder describes. */
#ifndef FAKE_H
#define FAKE_H

#include "abi.h"

#include <stddef.h>
#include <stdint.h>

/* dlsym finds only the functions with this mark. */
#define EXPORT __attribute__((visibility("default")))

/* A text may contain any byte except NUL. */
typedef char text[256];

struct memory { unsigned long long total, free, used, reserved; };

struct process {
	unsigned int pid;
	unsigned long long used;
	unsigned int gi, ci;
	text name;
};

/* A place for a MIG instance. It is empty if there is no UUID. */
struct instance {
	text uuid, name;
	struct memory memory;
	unsigned int gi, ci;
	unsigned int multiprocessors, gpu_slices, compute_slices;
	unsigned long long sram_errors;
};

/* What the driver reports about a GPU's health. A question that the GPU does not know is not
 * supported. */
struct health {
	int knows_ecc_mode, knows_ecc, knows_sram, knows_remapped, knows_spare, knows_clocks,
	    knows_retired, knows_fabric, knows_recovery, knows_persistence;
	unsigned int ecc_current, ecc_pending;
	unsigned long long ecc[2][2]; /* by error type and counter type, as NVML numbers them */
	unsigned int remapped_corrected, remapped_uncorrected, remap_pending, remap_failed;
	unsigned int sram_threshold, spare_rows[5];
	unsigned long long clock_reasons;
	unsigned int retired_pending;
	unsigned int fabric_state, fabric_mask, fabric_summary;
	int fabric_status;
	unsigned int recovery;
	unsigned int persistence;
};

struct device {
	text name, uuid;
	unsigned int domain, bus, device, pci_id, minor;
	struct memory memory;
	unsigned int gpu_util, memory_util, power_usage, power_limit, clock[3], compute_mode;
	unsigned int max_sm_clock, cores;
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
	struct health health;
	unsigned long long event_types; /* the events that it can report */
};

/* Something that happens to a GPU, several times in a row. */
struct event {
	unsigned int device;
	unsigned long long type, data;
	unsigned int gi, ci;
	unsigned long count;
};

enum action { RETURN, HANG, SEGFAULT, ABORT, SLEEP, GARBAGE };

/* What a function does instead of its work or before it. */
struct rule {
	text function; /* may end in '*' */
	int device;    /* -1: any */
	enum action action;
	int arg;
};

struct machine {
	text driver, nvml;
	int cuda;
	int log_calls, wide_processes;
	unsigned int fabric_version; /* the newest one that nvmlDeviceGetGpuFabricInfoV knows */
	struct device *devices;
	size_t n_devices;
	struct event *events;
	size_t n_events;
	struct rule *rules;
	size_t n_rules;
};

struct machine *read_machine(const char *path);

/* The machine, as enter() read it last. */
extern struct machine *machine;

/* Every function begins with one of these. They make it return early if a rule says so. */
int enter(const char *function, int device, int starts);
#define ENTER_AS(device, starts) \
	do { \
		int forced = enter(__func__, device, starts); \
		if (forced >= 0) return (nvmlReturn_t)forced; \
	} while (0)
#define ENTER ENTER_AS(-1, 0)
#define ENTER_DEVICE(handle) ENTER_AS(device_number(handle), 0)

extern int init_count;

/* Reads machine.conf again if it has changed, in the middle of a call. */
void look_again(void);

/* Handles are numbers. They stay valid when machine.conf changes, and wrong ones are noticed. */
nvmlDevice_t make_handle(size_t device, size_t instance_plus_1);
uintptr_t handle_number(nvmlDevice_t handle);
int device_number(nvmlDevice_t handle);
struct device *device_of(nvmlDevice_t handle);
struct instance *instance_of(nvmlDevice_t handle);
/* Like device_of, but NULL for a MIG instance. */
struct device *whole_gpu(nvmlDevice_t handle);

nvmlReturn_t give_text(char *out, unsigned int size, const char *value);

#endif
