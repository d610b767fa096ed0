/* The GPUs of a machine that is told by a state file (NVML_SHIM_MACHINE) and keeps the rules of MIG; see machine.c. */
#ifndef MACHINE_H
#define MACHINE_H

typedef struct { unsigned int pid; unsigned long long used; unsigned int gi, ci; } process_t;
typedef struct { void *device; unsigned int id, profile, start, size; } instance_t;

int machine_on(void);
int machine_count(unsigned int *count);
int machine_by_index(unsigned int index, void **device);
int machine_uuid(void *device, char *uuid, unsigned int size);
int machine_name(void *device, char *name, unsigned int size);
int machine_mig_mode(void *device, unsigned int *now, unsigned int *pending);
int machine_max_slices(void *device, unsigned int *count);
int machine_slice(void *device, unsigned int index, void **slice);
int machine_ids(void *slice, unsigned int *gpu_instance, unsigned int *compute_instance);
int machine_instance_by_id(void *device, unsigned int id, void **instance);
int machine_instance_info(void *instance, instance_t *info);
int machine_processes(void *device, unsigned int *count, process_t *processes);

#endif
