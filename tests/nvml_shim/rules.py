"""What the shim lets be done with MIG and what it refuses, asked through pynvml on an H100 with MIG off."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import byref, c_uint
from functools import partial
from typing import Any

import pynvml

ONE, TWO, THREE, DOUBLE = 19, 14, 9, 15
"""Ids of 1g.10gb, 2g.20gb, 3g.40gb and 1g.20gb."""


def rules() -> dict[str, Any]:
    """Facts by name; an error of NVML is its number."""
    pynvml.nvmlInit()
    gpu = pynvml.nvmlDeviceGetHandleByIndex(0)
    facts: dict[str, Any] = {"created with MIG off": _tried(lambda: _place(gpu, ONE, 0, 1))}
    facts["mode"] = [pynvml.nvmlDeviceSetMigMode(gpu, 1), *pynvml.nvmlDeviceGetMigMode(gpu)]
    facts |= _order(gpu) | _occupied(gpu) | _in_use(gpu)
    facts["off with an instance"] = [_id(_place(gpu, ONE, 0, 1)), pynvml.nvmlDeviceSetMigMode(gpu, 0)]
    _clear(gpu)
    pynvml.nvmlShutdown()
    return facts


def _order(gpu: Any) -> dict[str, Any]:
    """NVIDIA's user guide: without places, one order of the same profiles works and another does not."""
    facts: dict[str, Any] = {}
    for name, order in (("small first", (ONE, ONE, TWO, THREE)), ("large first", (THREE, ONE, TWO, ONE))):
        facts[name] = [_tried(partial(_anywhere, gpu, profile)) for profile in order]
        _clear(gpu)
    return facts


def _occupied(gpu: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {"room for 1g": [_room(gpu, ONE)], "room for 3g": [_room(gpu, THREE)]}
    first, second = _place(gpu, ONE, 1, 1), _place(gpu, ONE, 6, 1)
    facts["ids"] = [_id(first), _id(second)]
    facts["room for 1g"].append(_room(gpu, ONE))
    facts["room for 3g"].append(_room(gpu, THREE))
    facts["taken"] = _tried(lambda: _place(gpu, TWO, 0, 2))
    facts["no such place"] = _tried(lambda: _place(gpu, TWO, 1, 2))
    facts["no such size"] = _tried(lambda: _place(gpu, TWO, 2, 1))
    pynvml.nvmlGpuInstanceDestroy(first)
    facts["a handle of what is gone"] = _tried(lambda: pynvml.nvmlGpuInstanceGetInfo(first))
    facts["ids"].append(_id(_place(gpu, DOUBLE, 2, 2)))
    _clear(gpu)
    return facts


def _in_use(gpu: Any) -> dict[str, Any]:
    instance = _place(gpu, DOUBLE, 0, 2)
    infos = [pynvml.nvmlGpuInstanceGetComputeInstanceProfileInfo(instance, number, 0) for number in (0, 7)]
    facts: dict[str, Any] = {"SMs of compute instances": [info.multiprocessorCount for info in infos]}
    uuids = []
    for _ in range(2):
        compute = pynvml.nvmlGpuInstanceCreateComputeInstance(instance, infos[1].id)
        uuids.append(pynvml.nvmlDeviceGetUUID(pynvml.nvmlComputeInstanceGetInfo(compute).device))
        facts["a GPU instance with a compute instance"] = _tried(lambda: pynvml.nvmlGpuInstanceDestroy(instance))
        pynvml.nvmlComputeInstanceDestroy(compute)
    facts["UUIDs"] = len(set(uuids))
    _clear(gpu)
    return facts


def _anywhere(gpu: Any, profile: int) -> bool:
    return bool(pynvml.nvmlDeviceCreateGpuInstance(gpu, profile))


def _place(gpu: Any, profile: int, start: int, size: int) -> Any:
    place = pynvml.c_nvmlGpuInstancePlacement_t(start, size)
    return pynvml.nvmlDeviceCreateGpuInstanceWithPlacement(gpu, profile, byref(place))


def _id(instance: Any) -> int:
    return int(pynvml.nvmlGpuInstanceGetInfo(instance).id)


def _room(gpu: Any, profile: int) -> int:
    return int(pynvml.nvmlDeviceGetGpuInstanceRemainingCapacity(gpu, profile))


def _clear(gpu: Any) -> None:
    for profile in (ONE, TWO, THREE, DOUBLE):
        count, handles = c_uint(0), (pynvml.c_nvmlGpuInstance_t * 7)()
        pynvml.nvmlDeviceGetGpuInstances(gpu, profile, handles, byref(count))
        for handle in handles[: count.value]:
            pynvml.nvmlGpuInstanceDestroy(handle)


def _tried(call: Callable[[], Any]) -> Any:
    try:
        done = call()
    except pynvml.NVMLError as error:
        return error.value
    return done if isinstance(done, bool | int) else True
