"""What NVML tells and does of MIG on one GPU, through pynvml. Every call blocks; all raise pynvml.NVMLError.

Handles die with what they name and change with the mode of the GPU, and ids are used again, so nothing is kept: a GPU
is found by its UUID each time, an instance by its id and looked at before it is destroyed. Source: nvml.h of CUDA 13.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from ctypes import byref, c_uint
from dataclasses import dataclass
from typing import Any

import pynvml

from controlplane.collect.gpu.nvml_gpu import text

_MOST_PROFILES = 64
"""Numbers of profiles are asked for until NVML knows no more, which newer drivers do later than this binding thinks."""


@dataclass(frozen=True, slots=True)
class NvmlProfile:
    """A profile as the driver has it: `number` is what it is asked by, `id` what an instance is created by."""

    number: int
    id: int
    name: str
    size: int
    starts: tuple[int, ...]
    most: int
    sm: int
    memory_mib: int


@dataclass(frozen=True, slots=True)
class Compute:
    """A compute instance, and who computes on it."""

    id: int
    uuid: str
    sm: int
    pids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Instance:
    """A GPU instance; without compute instances nobody can use it."""

    id: int
    profile_id: int
    start: int
    size: int
    computes: tuple[Compute, ...]

    @property
    def uuids(self) -> tuple[str, ...]:
        """Of its MIG devices."""
        return tuple(compute.uuid for compute in self.computes)

    @property
    def pids(self) -> tuple[int, ...]:
        """Who computes on them."""
        return tuple(pid for compute in self.computes for pid in compute.pids)


@dataclass(frozen=True, slots=True)
class Reading:
    """One GPU: `mode` is None where it has no MIG. `pids`: who computes on it while MIG is off."""

    uuid: str
    name: str
    pci: str
    mode: bool | None = None
    pending: bool | None = None
    table: tuple[NvmlProfile, ...] = ()
    instances: tuple[Instance, ...] = ()
    pids: tuple[int, ...] = ()

    def profile(self, instance: Instance) -> NvmlProfile | None:
        """What the instance is."""
        return next((profile for profile in self.table if profile.id == instance.profile_id), None)


def by_index() -> tuple[str, ...]:
    """UUIDs of all GPUs of this machine, each at its index; empty: that one is lost, and no more is told of it."""
    return tuple(uuid for uuid, _ in _all())


def uuids() -> tuple[str, ...]:
    """Of every GPU of this machine but those that are lost."""
    return tuple(uuid for uuid, _ in _devices())


def identity(uuid: str) -> Reading:
    """What the GPU is, without anything that takes a privilege."""
    device = _device(uuid)
    pci = int(pynvml.nvmlDeviceGetPciInfo(device).pciDeviceId)
    return Reading(uuid, text(pynvml.nvmlDeviceGetName(device)), f"0x{pci:08X}")


def read(uuid: str) -> Reading:
    """All of a GPU."""
    device, known = _device(uuid), identity(uuid)
    try:
        mode, pending = map(bool, pynvml.nvmlDeviceGetMigMode(device))
    except pynvml.NVMLError_NotSupported:
        return known
    table = tuple(_table(device))
    instances = tuple(_instances(device, table)) if mode else ()
    pids = () if mode else _pids(device)
    return Reading(known.uuid, known.name, known.pci, mode, pending, table, instances, pids)


def set_mode(uuid: str, *, on: bool) -> bool:
    """Turn MIG on or off; False: that happens at the next reset. Raises NVMLError_InUse too."""
    device = _device(uuid)
    if bool(pynvml.nvmlDeviceGetMigMode(device)[1]) != on:
        status = pynvml.nvmlDeviceSetMigMode(device, int(on))
        if status not in {pynvml.NVML_SUCCESS, pynvml.NVML_ERROR_RESET_REQUIRED}:
            raise pynvml.NVMLError(status)
    return bool(pynvml.nvmlDeviceGetMigMode(_device(uuid))[0]) == on


def create(uuid: str, profile: NvmlProfile, start: int) -> int:
    """Create a GPU instance at that place; gives its id."""
    place = pynvml.c_nvmlGpuInstancePlacement_t(start, profile.size)
    # the binding passes the place on as it is: not by reference it would be taken for an address
    made = pynvml.nvmlDeviceCreateGpuInstanceWithPlacement(_device(uuid), profile.id, byref(place))
    return int(pynvml.nvmlGpuInstanceGetInfo(made).id)


def complete(uuid: str, instance_id: int) -> Compute:
    """Create the compute instance with the most SMs in a GPU instance.

    It is not always the first that fits: that of 1g with twice the memory has another profile (seen on GH200).
    """
    handle = pynvml.nvmlDeviceGetGpuInstanceById(_device(uuid), instance_id)
    best = max(_compute_profiles(handle), key=lambda info: (info.multiprocessorCount, info.sliceCount))
    return _compute(pynvml.nvmlGpuInstanceCreateComputeInstance(handle, best.id))


def instance(uuid: str, instance_id: int) -> Instance | None:
    """The GPU instance that has the id now."""
    try:
        return _instance(pynvml.nvmlDeviceGetGpuInstanceById(_device(uuid), instance_id))
    except pynvml.NVMLError_NotFound:
        return None


def destroy(uuid: str, instance_id: int) -> None:
    """Destroy a GPU instance, its compute instances first. Raises NVMLError_InUse while somebody computes there."""
    handle = pynvml.nvmlDeviceGetGpuInstanceById(_device(uuid), instance_id)
    for compute in _compute_handles(handle):
        pynvml.nvmlComputeInstanceDestroy(compute)
    pynvml.nvmlGpuInstanceDestroy(handle)


def _devices() -> Iterator[tuple[str, Any]]:
    return ((uuid, device) for uuid, device in _all() if uuid)


def _all() -> Iterator[tuple[str, Any]]:
    for index in range(pynvml.nvmlDeviceGetCount()):
        uuid, device = "", None
        with suppress(pynvml.NVMLError_GpuIsLost):
            device = pynvml.nvmlDeviceGetHandleByIndex(index)
            uuid = text(pynvml.nvmlDeviceGetUUID(device))
        yield uuid, device


def _device(uuid: str) -> Any:
    """By its index: nvmlDeviceGetHandleByUUID took 10 s where several called it (NVIDIA's DRA driver)."""
    for found, device in _devices():
        if found == uuid:
            return device
    raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)


def _numbered(ask: Callable[[int], Any]) -> Iterator[tuple[int, Any]]:
    """What is told of each number that there is: from 0 on until NVML takes a number for no number."""
    for number in range(_MOST_PROFILES):
        try:
            yield number, ask(number)
        except pynvml.NVMLError_NotSupported:
            continue
        except pynvml.NVMLError_InvalidArgument:
            return


def _newest(ask: Callable[..., Any], *arguments: Any) -> Any:
    """The second version of a call, which tells a name; the first where the driver has no other."""
    try:
        return ask(*arguments, version=2)
    except pynvml.NVMLError_FunctionNotFound:
        return ask(*arguments, version=1)


def _table(device: Any) -> Iterator[NvmlProfile]:
    for number, info in _numbered(lambda n: _newest(pynvml.nvmlDeviceGetGpuInstanceProfileInfo, device, n)):
        places = tuple(_places(device, info.id))
        name = text(getattr(info, "name", b"")).removeprefix("MIG ")
        sizes = {size for _, size in places} or {0}
        yield NvmlProfile(
            number,
            int(info.id),
            name,
            max(sizes),
            tuple(sorted(start for start, _ in places)),
            int(info.instanceCount),
            int(info.multiprocessorCount),
            int(info.memorySizeMB),
        )


def _places(device: Any, profile_id: int) -> Iterator[tuple[int, int]]:
    count = c_uint(0)
    pynvml.nvmlDeviceGetGpuInstancePossiblePlacements(device, profile_id, None, byref(count))
    places = (pynvml.c_nvmlGpuInstancePlacement_t * count.value)()
    pynvml.nvmlDeviceGetGpuInstancePossiblePlacements(device, profile_id, places, byref(count))
    for place in places[: count.value]:
        yield int(place.start), int(place.size)


def _instances(device: Any, table: tuple[NvmlProfile, ...]) -> Iterator[Instance]:
    for profile in table:
        count = c_uint(0)
        handles = (pynvml.c_nvmlGpuInstance_t * profile.most)()
        pynvml.nvmlDeviceGetGpuInstances(device, profile.id, handles, byref(count))
        for handle in handles[: count.value]:
            yield _instance(handle)


def _instance(handle: Any) -> Instance:
    info = pynvml.nvmlGpuInstanceGetInfo(handle)
    computes = tuple(_compute(compute) for compute in _compute_handles(handle))
    return Instance(int(info.id), int(info.profileId), int(info.placement.start), int(info.placement.size), computes)


def _compute_profiles(handle: Any) -> list[Any]:
    shared = pynvml.NVML_COMPUTE_INSTANCE_ENGINE_PROFILE_SHARED
    ask = pynvml.nvmlGpuInstanceGetComputeInstanceProfileInfo
    return [info for _, info in _numbered(lambda number: _newest(ask, handle, number, shared))]


def _compute_handles(handle: Any) -> list[Any]:
    found: list[Any] = []
    for info in _compute_profiles(handle):
        count = c_uint(0)
        handles = (pynvml.c_nvmlComputeInstance_t * info.instanceCount)()
        pynvml.nvmlGpuInstanceGetComputeInstances(handle, info.id, handles, byref(count))
        found += handles[: count.value]
    return found


def _compute(handle: Any) -> Compute:
    info = pynvml.nvmlComputeInstanceGetInfo(handle)
    sm = pynvml.nvmlDeviceGetAttributes_v2(info.device).multiprocessorCount
    return Compute(int(info.id), text(pynvml.nvmlDeviceGetUUID(info.device)), int(sm), _pids(info.device))


def _pids(device: Any) -> tuple[int, ...]:
    return tuple(int(process.pid) for process in pynvml.nvmlDeviceGetComputeRunningProcesses(device))
