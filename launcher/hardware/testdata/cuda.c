/*
 * A fake libcuda.so.1 with the functions that driver_worker.py calls, as cuda.h declares them. The
 * file that FAKE_CUDA_GPUS names has one line "UUID PCI-ADDRESS NAME" for each GPU, and
 * CUDA_VISIBLE_DEVICES selects some of them. The library is strict: every wrong pointer, size and
 * device is an error, also where the real library could not notice it.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    OK = 0,
    INVALID_VALUE = 1,
    NOT_INITIALIZED = 3,
    NO_DEVICE = 100,
    INVALID_DEVICE = 101,
    INVALID_CONTEXT = 201
};
enum { MOST = 16 };

struct gpu { char uuid[64], pci[32], name[96]; };

static struct gpu visible[MOST];
static int count, initialized;
static struct { uint64_t at; size_t size; } memory;
static void *retained, *current;

static int read_gpus(struct gpu *all)
{
    const char *path = getenv("FAKE_CUDA_GPUS");
    FILE *f = path ? fopen(path, "r") : NULL;
    int n = 0;
    if (!f)
        return 0;
    while (n < MOST && fscanf(f, "%63s %31s %95[^\n]", all[n].uuid, all[n].pci, all[n].name) == 3)
        n++;
    fclose(f);
    return n;
}

static int named(const char *entry, const struct gpu *all, int n)
{
    char *end;
    long index = strtol(entry, &end, 10);
    int i;
    if (*entry && !*end)
        return index >= 0 && index < n ? (int)index : -1;
    for (i = 0; i < n && strncmp(entry, "GPU-", 4) == 0; i++)
        if (strncmp(entry, all[i].uuid, strlen(entry)) == 0)
            return i;
    return -1;
}

int cuInit(unsigned int flags)
{
    struct gpu all[MOST];
    int n = read_gpus(all), i;
    const char *env = getenv("CUDA_VISIBLE_DEVICES");
    char *list = env ? strdup(env) : NULL, *entry;
    if (flags != 0)
        return INVALID_VALUE;
    initialized = 1;
    count = 0;
    if (!list) {
        memcpy(visible, all, sizeof visible);
        count = n;
    }
    entry = list ? strtok(list, ",") : NULL;
    for (; entry && count < MOST; entry = strtok(NULL, ",")) {
        i = named(entry, all, n);
        if (i < 0)
            break;
        visible[count++] = all[i];
    }
    free(list);
    return count ? OK : NO_DEVICE;
}

int cuDeviceGetCount(int *n)
{
    *n = count;
    return initialized ? OK : NOT_INITIALIZED;
}

int cuDeviceGet(int *device, int ordinal)
{
    if (ordinal < 0 || ordinal >= count)
        return INVALID_DEVICE;
    *device = ordinal + 1000; /* differs from the ordinal, so that they cannot be mixed up */
    return OK;
}

static const struct gpu *of(int device)
{
    return device >= 1000 && device < 1000 + count ? &visible[device - 1000] : NULL;
}

int cuDeviceGetUuid_v2(unsigned char *octets, int device)
{
    const struct gpu *g = of(device);
    const char *text;
    int i;
    if (!g)
        return INVALID_DEVICE;
    for (text = g->uuid + 4, i = 0; i < 16; i++, text += 2) {
        unsigned octet;
        text += *text == '-';
        if (sscanf(text, "%2x", &octet) != 1)
            return INVALID_VALUE;
        octets[i] = (unsigned char)octet;
    }
    return OK;
}

int cuDeviceGetName(char *name, int size, int device)
{
    const struct gpu *g = of(device);
    if (!g)
        return INVALID_DEVICE;
    snprintf(name, size, "%s", g->name);
    return OK;
}

int cuDeviceGetPCIBusId(char *pci, int size, int device)
{
    const struct gpu *g = of(device);
    if (!g)
        return INVALID_DEVICE;
    snprintf(pci, size, "%s", g->pci);
    return OK;
}

int cuDevicePrimaryCtxRetain(void **context, int device)
{
    if (!of(device))
        return INVALID_DEVICE;
    *context = retained = (void *)0x7f0123456789abcd; /* uses all 64 bits */
    return OK;
}

int cuCtxSetCurrent(void *context)
{
    if (!retained || context != retained)
        return INVALID_CONTEXT;
    current = context;
    return OK;
}

int cuMemAlloc_v2(uint64_t *at, size_t size)
{
    if (!current)
        return INVALID_CONTEXT;
    if (memory.at || !size)
        return INVALID_VALUE;
    *at = memory.at = 0x7fedcba987654000;
    memory.size = size;
    return OK;
}

int cuMemsetD8_v2(uint64_t at, unsigned char value, size_t size)
{
    return at && at == memory.at && size == memory.size && value == 1 ? OK : INVALID_VALUE;
}

int cuCtxSynchronize(void)
{
    return current ? OK : INVALID_CONTEXT;
}

int cuMemFree_v2(uint64_t at)
{
    if (!at || at != memory.at)
        return INVALID_VALUE;
    memory.at = 0;
    return OK;
}

int cuGetErrorName(int result, const char **text)
{
    (void)result;
    *text = "CUDA_ERROR_FAKE";
    return OK;
}
