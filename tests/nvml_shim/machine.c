/* MIG as a driver keeps its rules, for GPUs whose state is the file that NVML_SHIM_MACHINE names (machine.py writes it).
 *
 * The file is mapped, so that what was done outlives a process that is killed, as the GPU's state does. Kept are: which
 * units are taken; counts of profiles and what may not be beside what; an order of placing that can end in a dead end
 * where the caller names no place; IN_USE while processes or compute instances are there; ids that are used again and
 * UUIDs that never are; a mode that changes at once, or at the next reset; the privilege; handles that die with what they
 * name. A fault comes at the k-th call, or at the k-th that changes something: an error before or after its effect, a
 * SIGKILL before or after it, or a hang. Structures: nvml.h of CUDA 13, as far as pynvml uses them here.
 */
#define _GNU_SOURCE
#include "machine.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { INVALID = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6, TOO_SMALL = 7, LOST = 15, RESET_REQUIRED = 16, IN_USE = 19,
       VERSION = 25, NO_ROOM = 23 };
enum { ERROR_BEFORE = 1, ERROR_AFTER = 2, KILL_BEFORE = 3, KILL_AFTER = 4, HANG = 5 };
enum { GPUS = 2, PROFILES = 18, COMPUTE_PROFILES = 9, STARTS = 12, INSTANCES = 14, COMPUTES = 7, PIDS = 4 };

typedef struct { unsigned int used, id, profile, serial, pids[PIDS]; } compute_t;
typedef struct { unsigned int used, id, profile, start, serial; compute_t computes[COMPUTES]; } gi_t;
typedef struct {
    unsigned int there, id, slices, most, sm, memory_mib, size, starts_count, starts[STARTS];
    unsigned int compute_sm[COMPUTE_PROFILES], compute_slices[COMPUTE_PROFILES]; /* 0 SMs: no such profile */
    unsigned int apart; /* a bit for each profile that may not be beside it */
    char name[64];
} profile_t;
typedef struct {
    char uuid[80], name[96];
    unsigned int pci, mig, lost, resets, mode, pending, profiles_only_with_mig, pids[PIDS];
    profile_t profiles[PROFILES];
    gi_t instances[INSTANCES];
} gpu_t;
typedef struct {
    unsigned int size, gpus, right, serial, calls, changes, at_call, at_change, fault, status;
    gpu_t gpu[GPUS];
} machine_t;

typedef struct { unsigned int start, size; } placement_t;
typedef struct {
    unsigned int id, p2p, slices, most, sm, copy, decoders, encoders, jpeg, ofa;
    unsigned long long memory_mib;
} profile_info_t;
typedef struct {
    unsigned int version, id, p2p, slices, most, sm, copy, decoders, encoders, jpeg, ofa;
    unsigned long long memory_mib;
    char name[96];
} profile_info_v2_t;
typedef struct { unsigned int id, slices, most, sm, copy, decoders, encoders, jpeg, ofa; } compute_info_t;
typedef struct { unsigned int version; compute_info_t info; char name[96]; } compute_info_v2_t;
typedef struct { void *device, *instance; unsigned int id, profile; placement_t placement; } compute_instance_t;
typedef struct { unsigned int sm, copy, decoders, encoders, jpeg, ofa, gi_slices, ci_slices; unsigned long long memory; } attributes_t;
typedef struct { char legacy[16]; unsigned int domain, bus, device, id, subsystem; char bus_id[32]; } pci_t;

static machine_t *machine;

int machine_on(void) {
    const char *path = getenv("NVML_SHIM_MACHINE");
    int file;
    if (machine || !path) return machine != NULL;
    file = open(path, O_RDWR);
    if (file < 0) return 0;
    machine = mmap(NULL, sizeof *machine, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (machine == MAP_FAILED || machine->size != sizeof *machine) {
        fprintf(stderr, "NVML_SHIM_MACHINE: %u bytes, not %zu\n", machine == MAP_FAILED ? 0 : machine->size, sizeof *machine);
        abort();
    }
    return 1;
}

/* Each call begins with `enter` and ends with `leave` of what it came to. */
static __thread int due;

static int enter(int changes) {
    machine->calls++;
    if (changes) machine->changes++;
    due = (machine->at_call && machine->calls == machine->at_call) ||
          (changes && machine->at_change && machine->changes == machine->at_change);
    if (due && machine->fault == KILL_BEFORE) raise(SIGKILL);
    if (due && machine->fault == HANG)
        for (;;) pause();
    return due && machine->fault == ERROR_BEFORE ? (int)machine->status : 0;
}
static int leave(int status) {
    if (due && machine->fault == KILL_AFTER) raise(SIGKILL);
    return due && machine->fault == ERROR_AFTER ? (int)machine->status : status;
}
#define ENTER(changes) { int fault_ = enter(changes); if (fault_) return fault_; }
#define FAIL(status) return leave(status)

/* Handles: a GPU is its index + 1; an instance is INSTANCE + its serial, a slice and its compute instance likewise. A
 * serial is given once, so that a handle of what was destroyed is found no more. */
#define INSTANCE 0x1000000L
#define COMPUTE 0x2000000L
#define SLICE 0x3000000L
#define HANDLE(kind, serial) ((void *)((kind) + (long)(serial)))

static gpu_t *gpu_of(void *device) {
    long handle = (long)device;
    return handle >= 1 && handle <= (long)machine->gpus ? &machine->gpu[handle - 1] : NULL;
}
static gi_t *instance_of(void *handle, gpu_t **gpu) {
    for (unsigned int g = 0; g < machine->gpus; g++)
        for (int i = 0; i < INSTANCES; i++) {
            gi_t *at = &machine->gpu[g].instances[i];
            if (at->used && HANDLE(INSTANCE, at->serial) == handle) { *gpu = &machine->gpu[g]; return at; }
        }
    return NULL;
}
static compute_t *compute_of(void *handle, long kind, gpu_t **gpu, gi_t **in) {
    for (unsigned int g = 0; g < machine->gpus; g++)
        for (int i = 0; i < INSTANCES; i++)
            for (int c = 0; c < COMPUTES; c++) {
                compute_t *at = &machine->gpu[g].instances[i].computes[c];
                if (machine->gpu[g].instances[i].used && at->used && HANDLE(kind, at->serial) == handle) {
                    *gpu = &machine->gpu[g];
                    *in = &machine->gpu[g].instances[i];
                    return at;
                }
            }
    return NULL;
}
static profile_t *by_id(gpu_t *gpu, unsigned int id) {
    for (int p = 0; p < PROFILES; p++)
        if (gpu->profiles[p].there && gpu->profiles[p].id == id) return &gpu->profiles[p];
    return NULL;
}
static int busy(const unsigned int *pids) {
    for (int p = 0; p < PIDS; p++)
        if (pids[p]) return 1;
    return 0;
}

int machine_count(unsigned int *count) { ENTER(0) *count = machine->gpus; return leave(0); }
int machine_by_index(unsigned int index, void **device) {
    ENTER(0)
    *device = (void *)(long)(index + 1);
    return leave(index >= machine->gpus ? INVALID : machine->gpu[index].lost ? LOST : 0);
}
int machine_uuid(void *device, char *uuid, unsigned int size) {
    gpu_t *gpu = gpu_of(device);
    gi_t *in;
    compute_t *compute;
    ENTER(0)
    if (gpu) { snprintf(uuid, size, "%s", gpu->uuid); return leave(0); }
    compute = compute_of(device, SLICE, &gpu, &in);
    if (!compute) FAIL(INVALID);
    snprintf(uuid, size, "MIG-%08x-0000-4000-8000-000000000000", compute->serial);
    return leave(0);
}
int machine_name(void *device, char *name, unsigned int size) {
    gpu_t *gpu = gpu_of(device);
    gi_t *in;
    ENTER(0)
    if (gpu) { snprintf(name, size, "%s", gpu->name); return leave(0); }
    if (!compute_of(device, SLICE, &gpu, &in)) FAIL(INVALID);
    snprintf(name, size, "%s %s", gpu->name, gpu->profiles[in->profile].name);
    return leave(0);
}
int nvmlDeviceGetPciInfo_v3(void *device, pci_t *pci) {
    gpu_t *gpu;
    if (!machine_on()) return NOT_SUPPORTED;
    gpu = gpu_of(device);
    ENTER(0)
    if (!gpu) FAIL(INVALID);
    memset(pci, 0, sizeof *pci);
    pci->id = gpu->pci;
    return leave(0);
}

int machine_mig_mode(void *device, unsigned int *now, unsigned int *pending) {
    gpu_t *gpu = gpu_of(device);
    ENTER(0)
    if (!gpu) FAIL(INVALID);
    if (!gpu->mig) FAIL(NOT_SUPPORTED);
    *now = gpu->mode;
    *pending = gpu->pending;
    return leave(0);
}
int nvmlDeviceSetMigMode(void *device, unsigned int mode, unsigned int *activation) {
    gpu_t *gpu;
    if (!machine_on()) return NOT_SUPPORTED;
    gpu = gpu_of(device);
    ENTER(1)
    if (!gpu || mode > 1) FAIL(INVALID);
    if (!gpu->mig) FAIL(NOT_SUPPORTED);
    if (!machine->right) FAIL(NO_PERMISSION);
    *activation = 0;
    for (int i = 0; i < INSTANCES; i++)
        if (!mode && gpu->instances[i].used) *activation = IN_USE;
    if (mode != gpu->mode && busy(gpu->pids)) *activation = IN_USE;
    if (*activation) return leave(0);
    gpu->pending = mode;
    if (!gpu->resets) gpu->mode = mode;
    if (gpu->mode != mode) *activation = RESET_REQUIRED;
    return leave(0);
}

static int profile_of(void *device, unsigned int number, gpu_t **gpu, profile_t **profile) {
    *gpu = gpu_of(device);
    if (!*gpu || number >= PROFILES) return INVALID;
    *profile = &(*gpu)->profiles[number];
    if (!(*gpu)->mig || !(*profile)->there) return NOT_SUPPORTED;
    return (*gpu)->profiles_only_with_mig && !(*gpu)->mode ? NOT_SUPPORTED : 0;
}
int nvmlDeviceGetGpuInstanceProfileInfo(void *device, unsigned int number, profile_info_t *info) {
    gpu_t *gpu;
    profile_t *profile;
    int status;
    if (!machine_on()) return NOT_SUPPORTED;
    ENTER(0)
    status = profile_of(device, number, &gpu, &profile);
    if (status) FAIL(status);
    *info = (profile_info_t){profile->id, 0, profile->slices, profile->most, profile->sm, 0, 0, 0, 0, 0, profile->memory_mib};
    return leave(0);
}
int nvmlDeviceGetGpuInstanceProfileInfoV(void *device, unsigned int number, profile_info_v2_t *info) {
    gpu_t *gpu;
    profile_t *profile;
    int status;
    if (!machine_on()) return NOT_SUPPORTED;
    ENTER(0)
    if (info->version != (sizeof *info | 2u << 24)) FAIL(VERSION);
    status = profile_of(device, number, &gpu, &profile);
    if (status) FAIL(status);
    *info = (profile_info_v2_t){info->version, profile->id, 0, profile->slices, profile->most, profile->sm, 0, 0, 0, 0, 0,
                                profile->memory_mib, ""};
    snprintf(info->name, sizeof info->name, "%s", profile->name);
    return leave(0);
}
int nvmlDeviceGetGpuInstancePossiblePlacements_v2(void *device, unsigned int id, placement_t *places, unsigned int *count) {
    gpu_t *gpu;
    profile_t *profile;
    if (!machine_on()) return NOT_SUPPORTED;
    gpu = gpu_of(device);
    ENTER(0)
    if (!gpu || !(profile = by_id(gpu, id))) FAIL(INVALID);
    if (!machine->right) FAIL(NO_PERMISSION);
    if (places && *count < profile->starts_count) FAIL(TOO_SMALL);
    *count = profile->starts_count;
    for (unsigned int s = 0; places && s < *count; s++) places[s] = (placement_t){profile->starts[s], profile->size};
    return leave(0);
}

/* What is free for one more of the profile from `start` on: 1, or 0. */
static int room(gpu_t *gpu, profile_t *profile, unsigned int start) {
    unsigned int same = 0;
    for (int i = 0; i < INSTANCES; i++) {
        gi_t *at = &gpu->instances[i];
        profile_t *other = &gpu->profiles[at->profile];
        if (!at->used) continue;
        same += other == profile;
        if (start < at->start + other->size && at->start < start + profile->size) return 0;
        if (profile->apart & 1u << at->profile) return 0;
    }
    return same < profile->most;
}
int nvmlDeviceGetGpuInstanceRemainingCapacity(void *device, unsigned int id, unsigned int *count) {
    gpu_t *gpu, tried;
    profile_t *profile;
    if (!machine_on()) return NOT_SUPPORTED;
    gpu = gpu_of(device);
    ENTER(0)
    if (!gpu || !(profile = by_id(gpu, id))) FAIL(INVALID);
    if (!machine->right) FAIL(NO_PERMISSION);
    if (!gpu->mode) FAIL(NOT_SUPPORTED);
    tried = *gpu;
    *count = 0;
    for (unsigned int start = 0; start < 16; start++) /* from the left: as many intervals as there can be */
        for (unsigned int s = 0; s < profile->starts_count; s++) {
            profile_t *mine = &tried.profiles[profile - gpu->profiles];
            if (profile->starts[s] != start || !room(&tried, mine, start)) continue;
            for (int i = 0; i < INSTANCES; i++)
                if (!tried.instances[i].used) {
                    tried.instances[i].profile = (unsigned int)(profile - gpu->profiles);
                    tried.instances[i].start = start;
                    tried.instances[i].used = 1;
                    break;
                }
            ++*count;
        }
    return leave(0);
}

static int create(gpu_t *gpu, profile_t *profile, unsigned int start, void **instance) {
    gi_t *made = NULL;
    unsigned int id = 1;
    for (int i = INSTANCES - 1; i >= 0; i--)
        if (!gpu->instances[i].used) made = &gpu->instances[i];
    if (!made) return NO_ROOM;
    for (int i = 0; i < INSTANCES; i++) /* the lowest that is free: ids are used again */
        if (gpu->instances[i].used && gpu->instances[i].id == id) { id++; i = -1; }
    memset(made, 0, sizeof *made);
    made->id = id;
    made->profile = (unsigned int)(profile - gpu->profiles);
    made->start = start;
    made->serial = ++machine->serial;
    made->used = 1;
    *instance = HANDLE(INSTANCE, made->serial);
    return 0;
}
static int may_create(gpu_t *gpu, unsigned int id, profile_t **profile) {
    if (!gpu || !(*profile = by_id(gpu, id))) return INVALID;
    if (!machine->right) return NO_PERMISSION;
    return gpu->mode ? 0 : NOT_SUPPORTED;
}
int nvmlDeviceCreateGpuInstanceWithPlacement(void *device, unsigned int id, const placement_t *place, void **instance) {
    gpu_t *gpu;
    profile_t *profile;
    int status, listed = 0;
    if (!machine_on()) return NOT_SUPPORTED;
    gpu = gpu_of(device);
    ENTER(1)
    status = may_create(gpu, id, &profile);
    if (status) FAIL(status);
    for (unsigned int s = 0; s < profile->starts_count; s++)
        listed |= profile->starts[s] == place->start && profile->size == place->size;
    if (!listed) FAIL(INVALID);
    return leave(room(gpu, profile, place->start) ? create(gpu, profile, place->start, instance) : NO_ROOM);
}
/* Without a place the driver takes the first that is free in an order of its own, from the outer ones on; so it is that
 * 1g, 1g, 2g, 3g find no room where 3g, 1g, 2g, 1g do (NVIDIA's MIG user guide, known issues). */
int nvmlDeviceCreateGpuInstance(void *device, unsigned int id, void **instance) {
    static const unsigned int order[] = {4, 0, 6, 2, 5, 1, 3, 9, 8, 7, 10, 11};
    gpu_t *gpu;
    profile_t *profile;
    int status;
    if (!machine_on()) return NOT_SUPPORTED;
    gpu = gpu_of(device);
    ENTER(1)
    status = may_create(gpu, id, &profile);
    if (status) FAIL(status);
    for (unsigned int at = profile->size == 1 ? 1 : 0; at < 12; at++)
        for (unsigned int s = 0; s < profile->starts_count; s++)
            if (profile->starts[s] == order[at] && room(gpu, profile, order[at]))
                return leave(create(gpu, profile, order[at], instance));
    FAIL(NO_ROOM);
}
int nvmlGpuInstanceDestroy(void *instance) {
    gpu_t *gpu;
    gi_t *at;
    if (!machine_on()) return NOT_SUPPORTED;
    at = instance_of(instance, &gpu);
    ENTER(1)
    if (!at) FAIL(INVALID);
    if (!machine->right) FAIL(NO_PERMISSION);
    for (int c = 0; c < COMPUTES; c++)
        if (at->computes[c].used) FAIL(IN_USE);
    at->used = 0;
    return leave(0);
}
int nvmlDeviceGetGpuInstances(void *device, unsigned int id, void **instances, unsigned int *count) {
    gpu_t *gpu;
    unsigned int found = 0;
    if (!machine_on()) return NOT_SUPPORTED;
    gpu = gpu_of(device);
    ENTER(0)
    if (!gpu || !by_id(gpu, id)) FAIL(INVALID);
    if (!machine->right) FAIL(NO_PERMISSION);
    if (!gpu->mode) FAIL(NOT_SUPPORTED);
    for (int i = 0; i < INSTANCES; i++)
        if (gpu->instances[i].used && gpu->profiles[gpu->instances[i].profile].id == id)
            instances[found++] = HANDLE(INSTANCE, gpu->instances[i].serial);
    *count = found;
    return leave(0);
}
int machine_instance_by_id(void *device, unsigned int id, void **instance) {
    gpu_t *gpu = gpu_of(device);
    ENTER(0)
    if (!gpu) FAIL(INVALID);
    if (!machine->right) FAIL(NO_PERMISSION);
    if (!gpu->mode) FAIL(NOT_SUPPORTED);
    for (int i = 0; i < INSTANCES; i++)
        if (gpu->instances[i].used && gpu->instances[i].id == id) {
            *instance = HANDLE(INSTANCE, gpu->instances[i].serial);
            return leave(0);
        }
    FAIL(NOT_FOUND);
}
int machine_instance_info(void *instance, instance_t *info) {
    gpu_t *gpu;
    gi_t *at = instance_of(instance, &gpu);
    ENTER(0)
    if (!at) FAIL(INVALID);
    *info = (instance_t){(void *)(long)(gpu - machine->gpu + 1), at->id, gpu->profiles[at->profile].id, at->start,
                         gpu->profiles[at->profile].size};
    return leave(0);
}

/* Compute instances: of profile N of the GPU instance's profile; ids of their profiles are their numbers. */
static int compute_info(void *instance, unsigned int number, unsigned int engine, compute_info_t *info) {
    gpu_t *gpu;
    gi_t *at = instance_of(instance, &gpu);
    profile_t *profile;
    if (!at || number >= COMPUTE_PROFILES || engine) return INVALID;
    profile = &gpu->profiles[at->profile];
    if (!profile->compute_sm[number]) return NOT_SUPPORTED;
    *info = (compute_info_t){number, profile->compute_slices[number], profile->slices / profile->compute_slices[number],
                             profile->compute_sm[number], 0, 0, 0, 0, 0};
    return 0;
}
int nvmlGpuInstanceGetComputeInstanceProfileInfo(void *instance, unsigned int number, unsigned int engine, compute_info_t *info) {
    if (!machine_on()) return NOT_SUPPORTED;
    ENTER(0)
    return leave(compute_info(instance, number, engine, info));
}
int nvmlGpuInstanceGetComputeInstanceProfileInfoV(void *instance, unsigned int number, unsigned int engine, compute_info_v2_t *info) {
    if (!machine_on()) return NOT_SUPPORTED;
    ENTER(0)
    if (info->version != (sizeof *info | 2u << 24)) FAIL(VERSION);
    return leave(compute_info(instance, number, engine, &info->info));
}
int nvmlGpuInstanceCreateComputeInstance(void *instance, unsigned int id, void **compute) {
    gpu_t *gpu;
    gi_t *at;
    compute_info_t info;
    unsigned int taken = 0;
    int status;
    if (!machine_on()) return NOT_SUPPORTED;
    at = instance_of(instance, &gpu);
    ENTER(1)
    status = compute_info(instance, id, 0, &info);
    if (status) FAIL(status == NOT_SUPPORTED ? INVALID : status);
    if (!machine->right) FAIL(NO_PERMISSION);
    for (int c = 0; c < COMPUTES; c++)
        if (at->computes[c].used) taken += gpu->profiles[at->profile].compute_slices[at->computes[c].profile];
    if (taken + info.slices > gpu->profiles[at->profile].slices) FAIL(NO_ROOM);
    for (unsigned int c = 0; c < COMPUTES; c++)
        if (!at->computes[c].used) {
            at->computes[c] = (compute_t){0, c, id, ++machine->serial, {0}};
            at->computes[c].used = 1;
            *compute = HANDLE(COMPUTE, at->computes[c].serial);
            return leave(0);
        }
    FAIL(NO_ROOM);
}
int nvmlComputeInstanceDestroy(void *compute) {
    gpu_t *gpu;
    gi_t *in;
    compute_t *at;
    if (!machine_on()) return NOT_SUPPORTED;
    at = compute_of(compute, COMPUTE, &gpu, &in);
    ENTER(1)
    if (!at) FAIL(INVALID);
    if (!machine->right) FAIL(NO_PERMISSION);
    if (busy(at->pids)) FAIL(IN_USE);
    at->used = 0;
    return leave(0);
}
int nvmlGpuInstanceGetComputeInstances(void *instance, unsigned int id, void **computes, unsigned int *count) {
    gpu_t *gpu;
    gi_t *at;
    unsigned int found = 0;
    if (!machine_on()) return NOT_SUPPORTED;
    at = instance_of(instance, &gpu);
    ENTER(0)
    if (!at) FAIL(INVALID);
    if (!machine->right) FAIL(NO_PERMISSION);
    for (int c = 0; c < COMPUTES; c++)
        if (at->computes[c].used && at->computes[c].profile == id) computes[found++] = HANDLE(COMPUTE, at->computes[c].serial);
    *count = found;
    return leave(0);
}
int nvmlComputeInstanceGetInfo_v2(void *compute, compute_instance_t *info) {
    gpu_t *gpu;
    gi_t *in;
    compute_t *at;
    if (!machine_on()) return NOT_SUPPORTED;
    at = compute_of(compute, COMPUTE, &gpu, &in);
    ENTER(0)
    if (!at) FAIL(INVALID);
    *info = (compute_instance_t){HANDLE(SLICE, at->serial), HANDLE(INSTANCE, in->serial), at->id, at->profile,
                                 {0, gpu->profiles[in->profile].compute_slices[at->profile]}};
    return leave(0);
}

int machine_max_slices(void *device, unsigned int *count) {
    gpu_t *gpu = gpu_of(device);
    ENTER(0)
    if (!gpu) FAIL(INVALID);
    *count = gpu->mode ? INSTANCES : 0;
    return leave(0);
}
int machine_slice(void *device, unsigned int index, void **slice) {
    gpu_t *gpu = gpu_of(device);
    gi_t *at;
    ENTER(0)
    if (!gpu || index >= INSTANCES) FAIL(INVALID);
    at = &gpu->instances[index];
    if (!at->used || !at->computes[0].used) FAIL(NOT_FOUND);
    *slice = HANDLE(SLICE, at->computes[0].serial);
    return leave(0);
}
int machine_ids(void *slice, unsigned int *gpu_instance, unsigned int *compute_instance) {
    gpu_t *gpu;
    gi_t *in;
    compute_t *at = compute_of(slice, SLICE, &gpu, &in);
    ENTER(0)
    if (!at) FAIL(INVALID);
    if (gpu_instance) *gpu_instance = in->id;
    if (compute_instance) *compute_instance = at->id;
    return leave(0);
}
int nvmlDeviceGetAttributes_v2(void *slice, attributes_t *attributes) {
    gpu_t *gpu;
    gi_t *in;
    compute_t *at;
    if (!machine_on()) return NOT_SUPPORTED;
    at = compute_of(slice, SLICE, &gpu, &in);
    ENTER(0)
    if (!at) FAIL(INVALID);
    *attributes = (attributes_t){gpu->profiles[in->profile].compute_sm[at->profile], 0, 0, 0, 0, 0,
                                 gpu->profiles[in->profile].slices, gpu->profiles[in->profile].compute_slices[at->profile],
                                 gpu->profiles[in->profile].memory_mib};
    return leave(0);
}
int machine_processes(void *device, unsigned int *count, process_t *processes) {
    gpu_t *gpu = gpu_of(device);
    gi_t *in;
    compute_t *at;
    const unsigned int *pids;
    unsigned int found = 0;
    ENTER(0)
    at = gpu ? NULL : compute_of(device, SLICE, &gpu, &in);
    if (!gpu) FAIL(INVALID);
    pids = at ? at->pids : gpu->pids;
    for (int p = 0; p < PIDS; p++) {
        if (!pids[p]) continue;
        if (processes && found < *count) processes[found] = (process_t){pids[p], ~0ULL, 0, 0};
        found++;
    }
    if (found > (processes ? *count : 0)) { *count = found; FAIL(TOO_SMALL); }
    *count = found;
    return leave(0);
}
