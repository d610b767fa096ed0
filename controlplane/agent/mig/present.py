"""GPUs as they are cut now, for people and for the control plane."""

from __future__ import annotations

import pynvml

from controlplane.agent.mig import nvml
from controlplane.agent.mig.geometry import board_of, piece_of
from controlplane.agent.mig.nvml import Instance, Reading
from controlplane.agent.mig.refusals import named, unfit
from controlplane.agent.mig.steps import OFF
from controlplane.collect.gpu.nvml_errors import why as why_of
from controlplane.decide.mig import Board
from controlplane.domain.mig import CutSlice, GpuLayout, LayoutOutcome


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
