"""GPUs as they are cut now, for people and for the control plane."""

from __future__ import annotations

from collections.abc import Sequence

import pynvml

from controlplane.agent.mig import nvml
from controlplane.agent.mig.geometry import board_of, piece_of
from controlplane.agent.mig.nvml import Instance, Reading
from controlplane.agent.mig.refusals import named, unfit
from controlplane.agent.mig.steps import OFF
from controlplane.collect.gpu.nvml_errors import why as why_of
from controlplane.decide.mig import Board
from controlplane.domain.errors import ConflictError, NotFoundError
from controlplane.domain.mig import CutSlice, GpuLayout, LayoutOutcome, LayoutState, Slice

LOST = GpuLayout("", "", why=why_of(pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)))
"""A GPU of which nothing is told but that it is lost; the others have their indices all the same."""


def present(uuid: str, last: LayoutOutcome | None) -> GpuLayout:
    """One GPU; where it cannot be read, why. `last`: what became of the newest layout that was asked for."""
    try:
        reading = nvml.read(uuid)
    except pynvml.NVMLError as error:
        known = _identity(uuid)
        board = board_of(known)
        return GpuLayout(uuid, known.name, board.key if board else "", why=why_of(error), last=last)
    board = board_of(reading)
    slices = tuple(_cut(reading, board, instance) for instance in reading.instances)
    if reading.mode is False:
        slices = (CutSlice(OFF, board.units if board else 0, processes=named(reading.pids)),)
    key, why = board.key if board else "", unfit(reading, board)
    return GpuLayout(uuid, reading.name, key, reading.mode, reading.pending, slices, why, last)


def device_of(gpus: Sequence[GpuLayout], uuid: str, piece: Slice) -> str:
    """The UUID by which a process is put on a slice; of `whole`, that of the GPU.

    Raises NotFoundError, and ConflictError where the GPU is being cut or the slice is not one device.
    """
    gpu = next((gpu for gpu in gpus if gpu.uuid == uuid), None)
    if gpu is None:
        raise NotFoundError("GPU", uuid, tuple(gpu.uuid for gpu in gpus if gpu.uuid))
    if gpu.last is not None and gpu.last.state is LayoutState.UNDER_WAY:
        raise ConflictError(f"GPU {uuid} is being cut")
    cut = next((cut for cut in gpu.slices if cut.piece == piece), None)
    if cut is None:
        there = tuple(f"{p.profile} at {p.start}" for p in gpu.layout)
        raise NotFoundError(f"slice of GPU {uuid}", f"{piece.profile} at {piece.start}", there)
    if piece == OFF:
        return uuid
    if len(cut.uuids) != 1:
        raise ConflictError(f"{piece.profile} at {piece.start} of GPU {uuid} has {len(cut.uuids)} MIG devices, not one")
    return cut.uuids[0]


def _identity(uuid: str) -> Reading:
    try:
        return nvml.identity(uuid)
    except pynvml.NVMLError:
        return Reading(uuid, "", "")


def _cut(reading: Reading, board: Board | None, instance: Instance) -> CutSlice:
    profile = reading.profile(instance)
    return CutSlice(
        piece_of(reading, board, instance),
        instance.size,
        instance.uuids,
        sum(compute.sm for compute in instance.computes),
        profile.memory_mib if profile else 0,
        named(instance.pids),
    )
