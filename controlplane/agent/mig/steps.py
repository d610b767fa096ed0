"""The fewest steps from what a GPU has to what it should have; pure.

A slice stays where profile, start and size are those wanted and it has a compute instance: nothing of it is touched.
One that is wanted and has none yet is completed: whoever began to create it has ended before its end.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from controlplane.agent.mig.geometry import nvml_profile, piece_of
from controlplane.agent.mig.nvml import Instance, NvmlProfile, Reading
from controlplane.decide.mig import WHOLE, Board, Slice
from controlplane.domain.mig import Act, LayoutStep

OFF = Slice(WHOLE, 0)
"""The GPU with MIG off."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A step with what it is done to: the instance that goes or is completed, or the profile of one to create."""

    step: LayoutStep
    instance: Instance | None = None
    profile: NvmlProfile | None = None


def steps(reading: Reading, board: Board, layout: Collection[Slice]) -> tuple[Planned, ...]:
    """MIG on where that is needed, then destroy, then create the largest first; `whole` is MIG off, at the end."""
    wanted = set(layout)
    pieces = {piece_of(reading, board, instance): instance for instance in reading.instances}
    fits = {p: i for p, i in pieces.items() if p in wanted and i.size == board.size(p)}
    gone = [Planned(_step(Act.DESTROY, p), i) for p, i in sorted(pieces.items(), key=_by_start) if p not in fits]
    if OFF in wanted:
        return (*gone, *(() if reading.mode is reading.pending is False else (Planned(_step(Act.CREATE, OFF)),)))
    on = () if not wanted or (reading.mode and reading.pending) else (Planned(_step(Act.DESTROY, OFF)),)
    missing = [p for p in wanted if p not in fits or not fits[p].computes]
    missing.sort(key=lambda p: (-board.size(p), p.start))
    return (*on, *gone, *(_created(reading, board, piece, fits.get(piece)) for piece in missing))


def staying(reading: Reading, board: Board, layout: Collection[Slice]) -> tuple[str, ...]:
    """The UUIDs of the slices that are there and stay."""
    stay = [i for i in reading.instances if (p := piece_of(reading, board, i)) in layout and i.size == board.size(p)]
    return tuple(uuid for instance in stay for uuid in instance.uuids)


def _created(reading: Reading, board: Board, piece: Slice, begun: Instance | None) -> Planned:
    profile = board.profile(piece.profile)
    return Planned(_step(Act.CREATE, piece), begun, nvml_profile(reading, profile) if profile else None)


def _step(act: Act, piece: Slice) -> LayoutStep:
    return LayoutStep(act, piece)


def _by_start(item: tuple[Slice, Instance]) -> int:
    return item[1].start
