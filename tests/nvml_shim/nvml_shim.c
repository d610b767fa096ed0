/* A libnvidia-ml.so.1 for tests: answers what the file named by NVML_SHIM says, read anew at every call.
 *
 * Lines "key value"; keys: init count handle.N uuid.N name.N util.N used.N total.N power.N mig.N temp.N clock.N throttle.N
 * ecc.N events.N xid.N procs.N; of slice M: maxmig.N slice.N.M uuid.N.M name.N.M used.N.M total.N.M gi.N.M ci.N.M procs.N.M;
 * of GPU instance M: placement.N.M "START SIZE". procs: "PID:BYTES PID:-"; xid: an event whenever it changes.
 * GPM: gpmsupport.N 1; cumulative counters gpm.N "MS GRAPHICS SM TENSOR DRAM" (busy ms; "-": that metric is error 3), of
 * GPU instance M gpm.N.M; gpmmetrics.N an error of nvmlGpmMetricsGet. nvml_shim_samples() counts samples not freed.
 * A value "!5" is the NVML error 5, "hang" never returns. A key that is not there is the error 3 (not supported).
 * Where NVML_SHIM_MACHINE names a state file, GPUs and their slices are those of machine.c, which keeps the rules of MIG.
 * Signatures and structures: nvml.h of CUDA 12, as far as pynvml uses them here.
 */
#define _GNU_SOURCE
#include "machine.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct { unsigned int gpu, memory; } utilization_t;
typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { void *device; unsigned long long type, data; unsigned int gi, ci; } event_t;

static int look_up(const char *key, char *value, size_t size) {
    char line[256], name[64];
    int status = 3;
    FILE *file = fopen(getenv("NVML_SHIM"), "r");
    if (!file) return 999;
    while (fgets(line, sizeof line, file)) {
        int used = 0;
        if (sscanf(line, "%63s %n", name, &used) != 1 || strcmp(name, key)) continue;
        snprintf(value, size, "%s", line + used);
        value[strcspn(value, "\n")] = 0;
        status = value[0] == '!' ? atoi(value + 1) : 0;
    }
    fclose(file);
    if (status == 0 && !strcmp(value, "hang"))
        for (;;) pause();
    return status;
}

/* Handles: a GPU is its index + 1; slice or GPU instance M of GPU N is (M + 1) * SLICE + N + 1. Keys end in N or N.M. */
#define SLICE 1000L

static void name_key(char *key, size_t size, const char *what, void *device) {
    long handle = (long)device;
    if (handle < SLICE)
        snprintf(key, size, "%s.%ld", what, handle - 1);
    else
        snprintf(key, size, "%s.%ld.%ld", what, handle % SLICE - 1, handle / SLICE - 1);
}

static int number(const char *what, void *device, double *result) {
    char key[64], value[256];
    int status;
    name_key(key, sizeof key, what, device);
    status = look_up(key, value, sizeof value);
    if (status == 0) *result = atof(value);
    return status;
}

static int whole(const char *what, void *device, unsigned int *result) {
    double value = 0;
    int status = number(what, device, &value);
    if (status == 0) *result = (unsigned int)value;
    return status;
}

static int text(const char *what, void *device, char *result, unsigned int size) {
    char key[64];
    name_key(key, sizeof key, what, device);
    return look_up(key, result, size);
}

int nvmlInitWithFlags(unsigned int flags) {
    char value[256];
    (void)flags;
    return look_up("init", value, sizeof value);
}
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int status) { (void)status; return "an error of the shim"; }

int nvmlDeviceGetCount_v2(unsigned int *count) {
    if (machine_on()) return machine_count(count);
    char value[256];
    int status = look_up("count", value, sizeof value);
    if (status == 0) *count = (unsigned int)atoi(value);
    return status;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device) {
    if (machine_on()) return machine_by_index(index, device);
    char key[64], value[256];
    int status;
    snprintf(key, sizeof key, "handle.%u", index);
    status = look_up(key, value, sizeof value);
    *device = (void *)(long)(index + 1);
    return status;
}
int nvmlDeviceGetUUID(void *device, char *uuid, unsigned int size) {
    return machine_on() ? machine_uuid(device, uuid, size) : text("uuid", device, uuid, size);
}
int nvmlDeviceGetName(void *device, char *name, unsigned int size) {
    return machine_on() ? machine_name(device, name, size) : text("name", device, name, size);
}
int nvmlDeviceGetUtilizationRates(void *device, utilization_t *rates) {
    double value = 0;
    int status = number("util", device, &value);
    rates->gpu = (unsigned int)value;
    rates->memory = 0;
    return status;
}
int nvmlDeviceGetMemoryInfo(void *device, memory_t *memory) {
    double used = 0, total = 0;
    int status = number("used", device, &used);
    if (status == 0) status = number("total", device, &total);
    memory->used = (unsigned long long)used;
    memory->total = (unsigned long long)total;
    memory->free = memory->total - memory->used;
    return status;
}
int nvmlDeviceGetPowerUsage(void *device, unsigned int *milliwatts) {
    double value = 0;
    int status = number("power", device, &value);
    *milliwatts = (unsigned int)value;
    return status;
}
int nvmlDeviceGetMigMode(void *device, unsigned int *now, unsigned int *pending) {
    if (machine_on()) return machine_mig_mode(device, now, pending);
    double value = 0;
    int status = number("mig", device, &value);
    *now = *pending = (unsigned int)value;
    return status;
}

int nvmlDeviceGetTemperature(void *device, int sensor, unsigned int *celsius) {
    (void)sensor;
    return whole("temp", device, celsius);
}
int nvmlDeviceGetClockInfo(void *device, int type, unsigned int *mhz) {
    (void)type;
    return whole("clock", device, mhz);
}
int nvmlDeviceGetCurrentClocksThrottleReasons(void *device, unsigned long long *reasons) {
    double value = 0;
    int status = number("throttle", device, &value);
    *reasons = (unsigned long long)value;
    return status;
}
int nvmlDeviceGetTotalEccErrors(void *device, int type, int counter, unsigned long long *count) {
    double value = 0;
    int status = number("ecc", device, &value);
    if (type != 1 || counter != 0) return 2; /* uncorrected, volatile */
    *count = (unsigned long long)value;
    return status;
}
int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned int *count, process_t *processes) {
    if (machine_on()) return machine_processes(device, count, processes);
    char value[256], *entry, *rest = value;
    unsigned int found = 0;
    int status = text("procs", device, value, sizeof value);
    if (status) return status;
    while ((entry = strtok_r(rest, " ", &rest))) {
        unsigned int pid = 0;
        unsigned long long used = ~0ULL;
        if (sscanf(entry, "%u:%llu", &pid, &used) < 1) continue;
        if (processes && found < *count) processes[found] = (process_t){pid, used, 0, 0};
        found++;
    }
    status = found > (processes ? *count : 0) ? 7 : 0; /* insufficient size */
    *count = found;
    return status;
}

/* XID events: the set remembers its GPU and the value that it told last. */
static struct { void *device; unsigned int told; } sets[256];
static unsigned int made;

int nvmlEventSetCreate(void **set) {
    sets[++made % 256].device = NULL;
    sets[made % 256].told = 0;
    *set = (void *)(long)(made % 256 + 1);
    return 0;
}
int nvmlDeviceRegisterEvents(void *device, unsigned long long types, void *set) {
    char value[256];
    int status = text("events", device, value, sizeof value);
    if (status == 0 && types != 8) status = 2;
    if (status == 0) sets[(long)set - 1].device = device;
    return status;
}
int nvmlEventSetWait_v2(void *set, event_t *event, unsigned int timeout_ms) {
    unsigned int xid = 0;
    void *device = sets[(long)set - 1].device;
    int status = whole("xid", device, &xid);
    (void)timeout_ms;
    if (status == 3 || (status == 0 && xid == sets[(long)set - 1].told)) return 10; /* timeout */
    if (status) return status;
    sets[(long)set - 1].told = xid;
    *event = (event_t){device, 8, xid, 0, 0};
    return 0;
}
int nvmlEventSetFree(void *set) { (void)set; return 0; }

int nvmlDeviceGetMaxMigDeviceCount(void *device, unsigned int *count) {
    return machine_on() ? machine_max_slices(device, count) : whole("maxmig", device, count);
}
int nvmlDeviceGetMigDeviceHandleByIndex(void *device, unsigned int index, void **slice) {
    if (machine_on()) return machine_slice(device, index, slice);
    char value[256];
    int status;
    *slice = (void *)((index + 1) * SLICE + (long)device);
    status = text("slice", *slice, value, sizeof value);
    return status == 3 ? 6 : status; /* a hole: not found */
}
int nvmlDeviceGetGpuInstanceId(void *slice, unsigned int *id) {
    return machine_on() ? machine_ids(slice, id, NULL) : whole("gi", slice, id);
}
int nvmlDeviceGetComputeInstanceId(void *slice, unsigned int *id) {
    return machine_on() ? machine_ids(slice, NULL, id) : whole("ci", slice, id);
}
int nvmlDeviceGetGpuInstanceById(void *device, unsigned int id, void **instance) {
    if (machine_on()) return machine_instance_by_id(device, id, instance);
    char value[256];
    *instance = (void *)((id + 1) * SLICE + (long)device);
    return text("placement", *instance, value, sizeof value);
}
int nvmlGpuInstanceGetInfo(void *instance, instance_t *info) {
    if (machine_on()) return machine_instance_info(instance, info);
    char value[256];
    int status = text("placement", instance, value, sizeof value);
    if (status) return status;
    memset(info, 0, sizeof *info);
    return sscanf(value, "%u %u", &info->start, &info->size) == 2 ? 0 : 999;
}

/* GPM: a sample is what the counters said; a metric is the share of the time between two samples, in per cent. */
#define COUNTERS 5
static const unsigned int metric_ids[COUNTERS] = {0, 1, 2, 5, 10}; /* time; graphics, SM, any tensor, DRAM bandwidth */
typedef struct { long of; double counters[COUNTERS]; } gpm_sample_t;
typedef struct { unsigned int id; int status; double value; const char *names[3]; } gpm_metric_t;
typedef struct { unsigned int version, count; gpm_sample_t *before, *after; gpm_metric_t metrics[]; } gpm_get_t;
typedef struct { unsigned int version, supported; } gpm_support_t;
static int samples;

int nvml_shim_samples(void) { return samples; }

int nvmlGpmQueryDeviceSupport(void *device, gpm_support_t *support) {
    int status = whole("gpmsupport", device, &support->supported);
    if (support->version != 1) return 25; /* argument version mismatch */
    if (status == 3) support->supported = 0;
    return status == 3 ? 0 : status;
}
int nvmlGpmSampleAlloc(gpm_sample_t **sample) {
    *sample = calloc(1, sizeof **sample);
    samples++;
    return *sample ? 0 : 20;
}
int nvmlGpmSampleFree(gpm_sample_t *sample) {
    if (!sample) return 2;
    free(sample);
    samples--;
    return 0;
}
int nvmlGpmSampleGet(void *device, gpm_sample_t *sample) {
    char value[256], *entry, *rest = value;
    int status = text("gpm", device, value, sizeof value);
    if (status) return status;
    for (int at = 0; at < COUNTERS; at++) {
        entry = strtok_r(rest, " ", &rest);
        if (!entry) return 999;
        sample->counters[at] = strcmp(entry, "-") ? atof(entry) : -1;
    }
    sample->of = (long)device;
    return 0;
}
int nvmlGpmMigSampleGet(void *device, unsigned int instance, gpm_sample_t *sample) {
    return nvmlGpmSampleGet((void *)((instance + 1) * SLICE + (long)device), sample);
}
int nvmlGpmMetricsGet(gpm_get_t *get) {
    char value[256];
    double *before = get->before->counters, *after = get->after->counters;
    int status = text("gpmmetrics", (void *)get->after->of, value, sizeof value);
    if (status != 3) return status;
    if (get->version != 1 || get->before->of != get->after->of || after[0] <= before[0]) return 2;
    for (unsigned int each = 0; each < get->count; each++) {
        gpm_metric_t *metric = &get->metrics[each];
        int at = COUNTERS - 1;
        while (at > 0 && metric_ids[at] != metric->id) at--;
        metric->status = at == 0 ? 2 : after[at] < 0 ? 3 : 0;
        metric->value = 100 * (after[at] - before[at]) / (after[0] - before[0]);
    }
    return 0;
}
