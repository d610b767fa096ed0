"""Nodes in memory whose GPUs are cut and whose copies are started, by the rules of the driver; what may fail is set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from controlplane.decide.mig import WHOLE, Board, Gpu, Slice
from controlplane.decide.mig.layouts import legal
from controlplane.domain.errors import NotFoundError, TargetUnreachableError
from controlplane.domain.layouts import StepEnd, StepKind
from controlplane.domain.mig import (
    Act,
    CopyOutcome,
    CopyState,
    CutSlice,
    GpuLayout,
    LayoutOutcome,
    LayoutState,
    LayoutStep,
)

OFF = Slice(WHOLE, 0)


@dataclass
class Nodes:
    """Adapts MigActuator and CopyRunner. `fail_at`: the number of the call that fails, from 1; `calls` those made."""

    boards: Mapping[str, Board]
    slices: dict[str, set[Slice]]
    copies: set[tuple[str, str, Slice]] = field(default_factory=set)
    node_of: Mapping[str, str] = field(default_factory=dict)
    away: set[str] = field(default_factory=set)
    fail_at: int = 0
    why: str = ""
    calls: list[str] = field(default_factory=list)
    done: list[tuple[Act, str, Slice, str]] = field(default_factory=list)
    silent: set[str] = field(default_factory=set)
    """Models whose copies never answer."""
    broken: set[tuple[str, str]] = field(default_factory=set)
    """Models that never start on a GPU, by its UUID."""
    resets: set[str] = field(default_factory=set)
    """GPUs that change their mode at a reset only."""

    @classmethod
    def of(cls, gpus: Collection[Gpu]) -> Nodes:
        """As the planner takes them, each two GPUs on a node."""
        copies = {(name, gpu.uuid, piece) for gpu in gpus for piece, names in gpu.models.items() for name in names}
        where = {gpu.uuid: f"node-{at // 2}" for at, gpu in enumerate(gpus)}
        return cls({gpu.uuid: gpu.board for gpu in gpus}, {g.uuid: set(g.layout) for g in gpus}, copies, where)

    def serves(self, model: str, gpu: str, piece: Slice) -> bool:
        return (model, gpu, piece) in self.copies and model not in self.silent

    async def layouts(self, node: str) -> tuple[GpuLayout, ...]:
        if node in self.away:
            raise TargetUnreachableError(f"agent {node}", "connection refused")
        if node not in self.node_of.values():
            raise NotFoundError("node with an agent", node)
        return tuple(self._told(uuid) for uuid in self.slices if self.node_of[uuid] == node)

    async def apply(self, node: str, gpu: str, layout: Collection[Slice], *, dry_run: bool) -> LayoutOutcome:
        assert not dry_run
        assert self.node_of[gpu] == node
        if self._fails(f"cut {gpu}"):
            return LayoutOutcome(gpu, LayoutState.FAILED, detail="no room")
        here, wanted = self.slices[gpu], set(layout)
        busy = {piece for _, uuid, piece in self.copies if uuid == gpu} - wanted
        assert not busy, "somebody computes on what would go"
        assert wanted == {OFF} or legal(self.boards[gpu], tuple(sorted(wanted)))
        if gpu in self.resets and OFF in here ^ wanted:
            step = LayoutStep(Act.DESTROY if OFF in here else Act.CREATE, OFF)
            return LayoutOutcome(gpu, LayoutState.RESET_REQUIRED, (step,), "at its next reset")
        self.done += [(Act.DESTROY, gpu, piece, "") for piece in sorted(here - wanted)]
        self.done += [(Act.CREATE, gpu, piece, "") for piece in sorted(wanted - here)]
        self.slices[gpu] = wanted
        return LayoutOutcome(gpu, LayoutState.DONE)

    async def run(self, node: str, act: Act, gpu: str, piece: Slice, model: str) -> CopyOutcome:
        assert self.node_of[gpu] == node
        if self._fails(f"{act} {model}") or (act is Act.START and (model, gpu) in self.broken):
            return CopyOutcome(gpu, piece, model, CopyState.FAILED, "exit code 3")
        if act is Act.START:
            assert piece in self.slices[gpu]
            self.copies.add((model, gpu, piece))
        else:
            self.copies.discard((model, gpu, piece))
        self.done.append((act, gpu, piece, model))
        return CopyOutcome(gpu, piece, model, CopyState.DONE)

    async def close(self) -> None:
        """Nothing."""

    def _told(self, uuid: str) -> GpuLayout:
        board = self.boards[uuid]
        cuts = tuple(CutSlice(piece, board.size(piece)) for piece in sorted(self.slices[uuid]))
        return GpuLayout(uuid, board.key, board.key, OFF not in self.slices[uuid], None, cuts, self.why)

    def _fails(self, call: str) -> bool:
        self.calls.append(call)
        return len(self.calls) == self.fail_at


class Free:
    """Adapts Going: nothing is held; counts what is told."""

    def __init__(self) -> None:
        self.done = 0
        self.ends: Counter[tuple[StepKind, StepEnd]] = Counter()

    def may_go(self) -> None:
        """Always."""

    def pays(self, _: Sequence[object]) -> None:
        """It does."""

    def did(self, steps: int) -> None:
        self.done += steps

    def came(self, kind: StepKind, end: StepEnd) -> None:
        self.ends[kind, end] += 1

    def started(self, model: str, uuid: str, *, answers: bool) -> None:
        """Nobody keeps it."""

    def stopped(self) -> str:
        return ""

    def touched(self, _: str) -> tuple[str, ...] | None:
        return ()

    def forbidden(self, _: Collection[str] | None) -> str:
        return ""
