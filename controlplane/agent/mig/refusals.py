"""Why a GPU is not changed: nothing is begun where one of these holds."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import psutil

from controlplane.agent.mig.geometry import differences, lacking
from controlplane.agent.mig.nvml import Reading
from controlplane.agent.mig.steps import OFF, Planned
from controlplane.decide.mig import Board, Slice
from controlplane.decide.mig.layouts import legal
from controlplane.domain.mig import Act


def unfit(reading: Reading, board: Board | None) -> str:
    """Why no layout at all is carried out on this GPU; empty: one may be."""
    if reading.mode is None:
        return "this GPU cannot be cut: it has no MIG"
    if board is None:
        return f"{reading.name} ({reading.pci}) is not in the table of boards"
    if not reading.table:
        return "the driver tells its profiles only while MIG is on: turn it on once by nvidia-smi -mig 1"
    return "; ".join(differences(reading, board))


def impossible(reading: Reading, board: Board, layout: tuple[Slice, ...]) -> str:
    """Why the GPU cannot have this layout; empty: it can."""
    if not legal(board, layout):
        return f"{board.key} cannot have this layout: {', '.join(map(at, layout))}"
    lack = lacking(reading, board, layout)
    return f"the driver has no profile {', '.join(lack)}" if lack else ""


def busy(reading: Reading, planned: Sequence[Planned]) -> str:
    """Who computes on what would go; empty: nobody."""
    parts = []
    for one in planned:
        if one.step.act is Act.DESTROY and one.instance is not None and one.instance.pids:
            parts.append(f"{at(one.step.piece)} is in use by {', '.join(named(one.instance.pids))}")
        if one.step.piece == OFF and reading.pids:
            parts.append(f"the GPU is in use by {', '.join(named(reading.pids))}")
    return "; ".join(parts)


def named(pids: Collection[int]) -> tuple[str, ...]:
    """Processes by number and, where this machine tells it, name."""
    return tuple(map(_named, dict.fromkeys(pids)))


def _named(pid: int) -> str:
    try:
        return f"{pid} ({psutil.Process(pid).name()})"
    except psutil.Error:
        return str(pid)


def at(piece: Slice) -> str:
    """A slice in words."""
    return f"{piece.profile} at {piece.start}"
