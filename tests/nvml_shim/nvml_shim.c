/* A libnvidia-ml.so.1 for tests: answers what the file named by NVML_SHIM says, read anew at every call.
 *
 * Lines "key value"; keys: init count handle.N uuid.N name.N util.N used.N total.N power.N mig.N.
 * A value "!5" is the NVML error 5, "hang" never returns. A key that is not there is the error 3 (not supported).
 * Signatures and structures: nvml.h of CUDA 12, as far as pynvml uses them here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct { unsigned int gpu, memory; } utilization_t;
typedef struct { unsigned long long total, free, used; } memory_t;

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

static int number(const char *what, void *device, double *result) {
    char key[64], value[256];
    int status;
    snprintf(key, sizeof key, "%s.%ld", what, (long)device - 1);
    status = look_up(key, value, sizeof value);
    if (status == 0) *result = atof(value);
    return status;
}

static int text(const char *what, void *device, char *result, unsigned int size) {
    char key[64];
    snprintf(key, sizeof key, "%s.%ld", what, (long)device - 1);
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
    char value[256];
    int status = look_up("count", value, sizeof value);
    if (status == 0) *count = (unsigned int)atoi(value);
    return status;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device) {
    char key[64], value[256];
    int status;
    snprintf(key, sizeof key, "handle.%u", index);
    status = look_up(key, value, sizeof value);
    *device = (void *)(long)(index + 1);
    return status;
}
int nvmlDeviceGetUUID(void *device, char *uuid, unsigned int size) { return text("uuid", device, uuid, size); }
int nvmlDeviceGetName(void *device, char *name, unsigned int size) { return text("name", device, name, size); }
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
    double value = 0;
    int status = number("mig", device, &value);
    *now = *pending = (unsigned int)value;
    return status;
}
