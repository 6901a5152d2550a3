/* What happens before a function does its work: machine.conf is read again if it has changed, the
 * call is logged, and the rules are applied. */
#define _GNU_SOURCE
#include "fake.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct machine *machine;
int init_count;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static __thread int garbage;

/* The path of a file in the folder of this library. The library knows nothing but its own path, so
 * that two libraries in one process can serve two machines. */
static void sibling_path(char *out, size_t size, const char *file)
{
	Dl_info info;
	const char *self = dladdr((void *)&machine, &info) ? info.dli_fname : "./";
	const char *slash = strrchr(self, '/');
	snprintf(out, size, "%.*s%s", slash ? (int)(slash - self + 1) : 0, self, file);
}

static void reread(void)
{
	static struct stat last;
	static char path[4096];
	struct stat now;
	if (!*path) sibling_path(path, sizeof path, "machine.conf");
	if (stat(path, &now)) memset(&now, 0, sizeof now);
	if (machine && now.st_ino == last.st_ino && now.st_mtim.tv_sec == last.st_mtim.tv_sec &&
	    now.st_mtim.tv_nsec == last.st_mtim.tv_nsec)
		return;
	struct machine *m = read_machine(path);
	if (m) machine = m, last = now;
	if (!machine) {
		fprintf(stderr, "fake NVML: cannot read %s\n", path);
		abort();
	}
}

static void log_call(const char *function, int device)
{
	char path[4096], line[128];
	sibling_path(path, sizeof path, "calls");
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	int n = snprintf(line, sizeof line, device < 0 ? "%s\n" : "%s %d\n", function, device);
	if (fd < 0 || write(fd, line, (size_t)n) != n) abort();
	close(fd);
}

static int matches(const struct rule *r, const char *function, int device)
{
	size_t n = strlen(r->function);
	if (r->device >= 0 && r->device != device) return 0;
	if (n && r->function[n - 1] == '*') return !strncmp(r->function, function, n - 1);
	return !strcmp(r->function, function);
}

static void pause_for(long milliseconds)
{
	struct timespec t = {milliseconds / 1000, milliseconds % 1000 * 1000000};
	while (nanosleep(&t, &t)) {}
}

/* Does an action. Returns the code that the function has to return, or -1. */
static int obey(enum action action, int arg)
{
	switch (action) {
	case RETURN: return arg;
	case HANG: for (;;) pause_for(3600 * 1000);
	case SEGFAULT: raise(SIGSEGV); break;
	case ABORT: abort();
	case SLEEP: pause_for(arg); break;
	case GARBAGE: garbage = 1; break;
	}
	return -1;
}

void look_again(void)
{
	pthread_mutex_lock(&lock);
	reread();
	pthread_mutex_unlock(&lock);
}

int enter(const char *function, int device, int starts)
{
	struct rule todo[8];
	size_t n = 0;
	garbage = 0;
	pthread_mutex_lock(&lock);
	reread();
	if (machine->log_calls) log_call(function, device);
	for (size_t i = 0; i < machine->n_rules; i++) {
		struct rule *r = &machine->rules[i];
		if (matches(r, function, device) && n < 8) todo[n++] = *r;
	}
	int started = init_count > 0;
	pthread_mutex_unlock(&lock);
	/* Not under the lock, because a call that hangs must not make the others hang. */
	for (size_t i = 0; i < n; i++) {
		int forced = obey(todo[i].action, todo[i].arg);
		if (forced >= 0) return forced;
	}
	return started || starts ? -1 : NVML_ERROR_UNINITIALIZED;
}

nvmlReturn_t give_text(char *out, unsigned int size, const char *value)
{
	if (!out) return NVML_ERROR_INVALID_ARGUMENT;
	if (garbage) {
		/* All bytes except NUL, up to the end of the buffer. */
		for (unsigned int i = 0; i < size; i++) out[i] = (char)(i % 255 + 1);
		return NVML_SUCCESS;
	}
	if (strlen(value) >= size) return NVML_ERROR_INSUFFICIENT_SIZE;
	strcpy(out, value);
	return NVML_SUCCESS;
}
