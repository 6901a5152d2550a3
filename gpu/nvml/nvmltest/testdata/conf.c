/* Reads machine.conf. Each line is "key value…". The keys "device", "instance", "process", "event"
 * and "rule" begin a record. */
#define _GNU_SOURCE
#include "fake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *append(void *array, size_t *n, size_t size)
{
	char *grown = realloc(array, (*n + 1) * size);
	if (!grown) abort();
	memset(grown + *n * size, 0, size);
	++*n;
	return grown;
}

#define APPEND(array, n) ((array) = append((array), &(n), sizeof *(array)), &(array)[(n) - 1])

/* %XX stands for one byte. */
static void unescape(char *out, const char *in)
{
	size_t n = 0;
	for (; *in && n < sizeof(text) - 1; n++) {
		unsigned int byte;
		if (*in == '%' && sscanf(in + 1, "%2x", &byte) == 1) {
			out[n] = (char)byte;
			in += 3;
		} else {
			out[n] = *in++;
		}
	}
	out[n] = 0;
}

static void read_memory(struct memory *m, const char *value)
{
	sscanf(value, "%llu %llu %llu %llu", &m->total, &m->free, &m->used, &m->reserved);
}

static void read_cpus(struct device *d, const char *value)
{
	unsigned long word;
	int used;
	while (sscanf(value, "%lx%n", &word, &used) == 1) {
		*APPEND(d->cpus, d->n_cpus) = word;
		value += used;
	}
}

static void machine_line(struct machine *m, const char *key, const char *value)
{
	if (!strcmp(key, "driver")) unescape(m->driver, value);
	else if (!strcmp(key, "nvml")) unescape(m->nvml, value);
	else if (!strcmp(key, "cuda")) m->cuda = atoi(value);
	else if (!strcmp(key, "log_calls")) m->log_calls = atoi(value);
	else if (!strcmp(key, "wide_processes")) m->wide_processes = atoi(value);
	else if (!strcmp(key, "fabric_version")) m->fabric_version = (unsigned int)atoi(value);
}

/* Each of these lines also means that the GPU supports the question. */
static int health_line(struct health *h, const char *key, const char *value)
{
	if (!strcmp(key, "ecc_mode"))
		return h->knows_ecc_mode = sscanf(value, "%u %u", &h->ecc_current, &h->ecc_pending) == 2;
	if (!strcmp(key, "ecc"))
		return h->knows_ecc = sscanf(value, "%llu %llu %llu %llu", &h->ecc[0][0], &h->ecc[1][0],
		                             &h->ecc[0][1], &h->ecc[1][1]) == 4;
	if (!strcmp(key, "remapped"))
		return h->knows_remapped = sscanf(value, "%u %u %u %u", &h->remapped_corrected,
		                                  &h->remapped_uncorrected, &h->remap_pending,
		                                  &h->remap_failed) == 4;
	if (!strcmp(key, "sram_threshold"))
		return h->knows_sram = sscanf(value, "%u", &h->sram_threshold) == 1;
	if (!strcmp(key, "spare_rows"))
		return h->knows_spare = sscanf(value, "%u %u %u %u %u", &h->spare_rows[0],
		                               &h->spare_rows[1], &h->spare_rows[2], &h->spare_rows[3],
		                               &h->spare_rows[4]) == 5;
	if (!strcmp(key, "clock_reasons"))
		return h->knows_clocks = sscanf(value, "%llu", &h->clock_reasons) == 1;
	if (!strcmp(key, "retired_pending"))
		return h->knows_retired = sscanf(value, "%u", &h->retired_pending) == 1;
	if (!strcmp(key, "fabric"))
		return h->knows_fabric = sscanf(value, "%u %d %u %u", &h->fabric_state, &h->fabric_status,
		                                &h->fabric_mask, &h->fabric_summary) == 4;
	if (!strcmp(key, "recovery"))
		return h->knows_recovery = sscanf(value, "%u", &h->recovery) == 1;
	if (!strcmp(key, "persistence"))
		return h->knows_persistence = sscanf(value, "%u", &h->persistence) == 1;
	return 0;
}

static void device_line(struct device *d, const char *key, const char *value)
{
	if (health_line(&d->health, key, value)) return;
	if (!strcmp(key, "name")) unescape(d->name, value);
	else if (!strcmp(key, "uuid")) unescape(d->uuid, value);
	else if (!strcmp(key, "pci"))
		sscanf(value, "%x %x %x %x", &d->domain, &d->bus, &d->device, &d->pci_id);
	else if (!strcmp(key, "minor")) d->minor = (unsigned int)atoi(value);
	else if (!strcmp(key, "memory")) read_memory(&d->memory, value);
	else if (!strcmp(key, "utilization")) sscanf(value, "%u %u", &d->gpu_util, &d->memory_util);
	else if (!strcmp(key, "temperature")) d->temperature = atoi(value);
	else if (!strcmp(key, "power")) sscanf(value, "%u %u", &d->power_usage, &d->power_limit);
	else if (!strcmp(key, "clocks"))
		sscanf(value, "%u %u %u", &d->clock[0], &d->clock[1], &d->clock[2]);
	else if (!strcmp(key, "speed")) sscanf(value, "%u %u", &d->max_sm_clock, &d->cores);
	else if (!strcmp(key, "compute_mode")) d->compute_mode = (unsigned int)atoi(value);
	else if (!strcmp(key, "mig"))
		sscanf(value, "%d %u %u", &d->mig_capable, &d->mig_current, &d->mig_pending);
	else if (!strcmp(key, "cpus")) read_cpus(d, value);
	else if (!strcmp(key, "event_types")) d->event_types = strtoull(value, NULL, 10);
	else if (!strcmp(key, "process_growth")) d->process_growth = (unsigned int)atoi(value);
}

static void instance_line(struct instance *i, const char *key, const char *value)
{
	if (!strcmp(key, "name")) unescape(i->name, value);
	else if (!strcmp(key, "uuid")) unescape(i->uuid, value);
	else if (!strcmp(key, "memory")) read_memory(&i->memory, value);
	else if (!strcmp(key, "ids")) sscanf(value, "%u %u", &i->gi, &i->ci);
	else if (!strcmp(key, "attributes"))
		sscanf(value, "%u %u %u", &i->multiprocessors, &i->gpu_slices, &i->compute_slices);
	else if (!strcmp(key, "sram_errors")) i->sram_errors = strtoull(value, NULL, 10);
}

static void process_record(struct device *d, const char *value)
{
	struct process *p = APPEND(d->processes, d->n_processes);
	int used = 0;
	sscanf(value, "%u %llu %u %u %n", &p->pid, &p->used, &p->gi, &p->ci, &used);
	unescape(p->name, value + used);
}

static void event_record(struct machine *m, const char *value)
{
	struct event *e = APPEND(m->events, m->n_events);
	sscanf(value, "%u %llu %llu %u %u %lu", &e->device, &e->type, &e->data, &e->gi, &e->ci,
	       &e->count);
}

static void rule_record(struct machine *m, const char *value)
{
	static const char *const names[] = {"return", "hang", "segfault", "abort", "sleep", "garbage"};
	struct rule *r = APPEND(m->rules, m->n_rules);
	char action[32] = "";
	sscanf(value, "%255s %d %31s %d", r->function, &r->device, action, &r->arg);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (!strcmp(action, names[i])) r->action = (enum action)i;
}

/* The caller must not free an old machine, because another thread may still be reading it. */
struct machine *read_machine(const char *path)
{
	FILE *f = fopen(path, "re");
	if (!f) return NULL;
	struct machine *m = calloc(1, sizeof *m);
	struct device *d = NULL;
	struct instance *in = NULL;
	char line[4096];
	while (m && fgets(line, sizeof line, f)) {
		line[strcspn(line, "\n")] = 0;
		char *value = strchrnul(line, ' ');
		if (*value) *value++ = 0;
		if (!strcmp(line, "device")) d = APPEND(m->devices, m->n_devices), in = NULL;
		else if (!strcmp(line, "rule")) rule_record(m, value);
		else if (!strcmp(line, "event")) event_record(m, value);
		else if (d && !strcmp(line, "process")) process_record(d, value);
		else if (d && !strcmp(line, "instance")) in = APPEND(d->instances, d->n_instances);
		else if (in) instance_line(in, line, value);
		else if (d) device_line(d, line, value);
		else machine_line(m, line, value);
	}
	fclose(f);
	return m;
}
