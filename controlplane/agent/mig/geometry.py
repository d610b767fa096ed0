"""Whether a GPU can be cut as our table of its board has it: a plan that rests on another geometry is not carried out.

Names, ids, SMs and memory are the driver's business and may differ. A profile that only one of the two knows is no
difference until it is asked for: older drivers lack some.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from controlplane.agent.mig.nvml import Instance, NvmlProfile, Reading
from controlplane.config.mig.boards import boards
from controlplane.decide.mig import WHOLE, Board, Profile, Slice


def board_of(reading: Reading) -> Board | None:
    """The GPU's board by its PCI id, else by its name."""
    of = boards().values()
    return next((board for board in of if reading.pci in board.pci), None) or next(
        (board for board in of if reading.name in board.names), None
    )


def differences(reading: Reading, board: Board) -> tuple[str, ...]:
    """What the driver tells of starts, sizes and counts that the table has otherwise; each in words."""
    return tuple(_differences(reading, board))


def _differences(reading: Reading, board: Board) -> Iterator[str]:
    for profile in board.profiles:
        there = nvml_profile(reading, profile)
        if there is None:
            continue
        for what, ours, theirs in (
            ("starts", _list(profile.starts), _list(there.starts)),
            ("size", profile.size, there.size),
            ("count", profile.most, there.most),
        ):
            if ours != theirs:
                yield f"{profile.name}: the driver has {what} {theirs}, the table of {board.key} {ours}"


def nvml_profile(reading: Reading, profile: Profile) -> NvmlProfile | None:
    """The driver's row for a profile of ours."""
    return next((there for there in reading.table if there.number == profile.nvml), None)


def lacking(reading: Reading, board: Board, layout: Iterable[Slice]) -> tuple[str, ...]:
    """Profiles of the layout that this driver does not have."""
    wanted = {piece.profile for piece in layout} - {WHOLE}
    return tuple(p.name for p in board.profiles if p.name in wanted and nvml_profile(reading, p) is None)


def piece_of(reading: Reading, board: Board | None, instance: Instance) -> Slice:
    """Which slice an instance is; one that our table does not have is called as the driver calls it."""
    there = reading.profile(instance)
    ours = next((p for p in board.profiles if there and p.nvml == there.number), None) if board else None
    if ours is not None:
        return Slice(ours.name, instance.start)
    return Slice((there.name if there else "") or f"profile {instance.profile_id}", instance.start)


def _list(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers)) or "none"
