"""GPUs as they were read, as the planner takes them; and what cannot be planned with, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from controlplane.decide.mig.boards import WHOLE, Board, Slice
from controlplane.decide.mig.layouts import legal
from controlplane.domain.gpu import GpuReading, SliceReading
from controlplane.domain.signal import Missing, known

_WAITS = (
    "MIG is {} from its next reset on: end all that uses it, the agent and DCGM too, and reset it"
    " (nvidia-smi --gpu-reset), or reboot the node"
)
"""Of Ampere. A reset ends every process on the GPU, and monitoring stands in its way: it is a person's to do."""


@dataclass(frozen=True, slots=True)
class SeenGpu:
    """A GPU with the slices that are there, by the UUIDs of their MIG devices; `why` it cannot be planned with.

    The UUID of a GPU with MIG off stands for the whole of it.
    """

    reading: GpuReading
    board: Board | None
    pieces: Mapping[str, Slice]
    why: str = ""


def seen_gpu(gpu: GpuReading, boards: Sequence[Board]) -> SeenGpu:
    """What is known of a GPU's layout. One whose geometry disagrees with its board's table is not planned with."""
    board = board_of(gpu, boards)
    if board is None:
        return SeenGpu(gpu, None, {}, f"{gpu.name or 'its name is not known, which'} is no board that can be cut")
    mig, slices = known(gpu.mig_enabled), known(gpu.slices)
    if mig is None or (mig and slices is None):
        told = _told(gpu.slices if mig else gpu.mig_enabled)
        return SeenGpu(gpu, board, {}, f"how it is cut is not known: {told}")
    waits = _WAITS.format("on" if known(gpu.mig_pending) else "off") if gpu.waits_for_reset else ""
    if not mig:
        return SeenGpu(gpu, board, {gpu.uuid: Slice(WHOLE, 0)}, waits)
    pieces = dict(_pieces(board, slices or ()))
    return SeenGpu(gpu, board, pieces, waits or _disagrees(board, pieces, len(slices or ())))


def _disagrees(board: Board, pieces: Mapping[str, Slice], there: int) -> str:
    """What of the slices that are there is not as the board's table has it."""
    if len(pieces) < there:
        return f"profiles and starts of its slices are not told, or {board.key} has none such"
    layout = tuple(sorted(set(pieces.values())))
    if legal(board, layout):
        return ""
    return f"{board.key} cannot have these together: {', '.join(f'{p.profile} at {p.start}' for p in layout)}"


def board_of(gpu: GpuReading, boards: Sequence[Board]) -> Board | None:
    """The board that the driver calls so; its table says more in brackets."""
    return next((board for board in boards if gpu.name in (name.partition(" (")[0] for name in board.names)), None)


def _pieces(board: Board, slices: Sequence[SliceReading]) -> Iterator[tuple[str, Slice]]:
    for piece in slices:
        name, place = known(piece.profile), known(piece.placement)
        profile = None if name is None else board.profile(name)
        if profile is not None and place is not None and profile.size == place.size:
            yield piece.uuid, Slice(profile.name, place.start)


def _told(signal: object) -> str:
    return signal.why if isinstance(signal, Missing) else "it was not read of late"
