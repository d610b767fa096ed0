"""MIG: slices of GPUs, what becomes of a layout that is asked for, and the port of what cuts them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

WHOLE = "whole"
"""The profile of a GPU with MIG off: all of its SMs, more than its largest slice has, and nothing beside it."""


@dataclass(frozen=True, slots=True, order=True)
class Slice:
    """A slice of a GPU by its profile and its first memory unit."""

    profile: str
    start: int


class Act(StrEnum):
    """What a step does."""

    CREATE = "create"
    """Cut the slice; of profile `whole`: turn MIG off."""
    START = "start"
    """Start a copy of the model on the slice."""
    DRAIN = "drain"
    """Take the model's copy on the slice out of routing, let it finish, and stop it."""
    DESTROY = "destroy"
    """Give the slice up; of profile `whole`: turn MIG on."""


@dataclass(frozen=True, slots=True)
class CutSlice:
    """A slice that is there: `size` memory units of its GPU.

    `uuids` are those of its MIG devices: one, as we cut it; several, where somebody cut it further; none, where it is
    not finished. `sm` and `memory_mib` are what the driver tells of it. `processes`: who computes on it.
    """

    piece: Slice
    size: int
    uuids: tuple[str, ...] = ()
    sm: int = 0
    memory_mib: int = 0
    processes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LayoutStep:
    """Creating or destroying one slice; `uuid`: that of the MIG device, once it is created. `note`: what is odd."""

    act: Act
    piece: Slice
    done: bool = False
    uuid: str = ""
    note: str = ""


class LayoutState(StrEnum):
    """What became of a layout that was asked for."""

    PLANNED = "planned"
    """A dry run: these steps would be done."""
    UNDER_WAY = "under_way"
    """It is being carried out; where nothing is, whoever did it has ended before its end."""
    DONE = "done"
    """The GPU has the layout."""
    RESET_REQUIRED = "reset_required"
    """The GPU changes its MIG mode at its next reset only; the rest is done after that."""
    REFUSED = "refused"
    """It cannot be, and nothing was changed."""
    FAILED = "failed"
    """A step failed. What was done before it stays; asking again goes on from there."""
    UNREACHABLE = "unreachable"
    """Nobody answered: what became of it is not known. Asking again is safe."""
    HELD = "held"
    """Under the GPU operator: a person forbade it before a GPU was touched, and the node is open again; or somebody let
    go of it, or this process does not lead any more, and the node was left as it was.
    """


@dataclass(frozen=True, slots=True)
class NodeOutcome:
    """What became of cutting the GPUs of a node in one go; `why` it was not done, empty where it was."""

    node: str
    state: LayoutState
    why: str = ""


@dataclass(frozen=True, slots=True)
class LayoutOutcome:
    """What became of the layout asked for on one GPU, with the steps to it."""

    gpu: str
    state: LayoutState
    steps: tuple[LayoutStep, ...] = ()
    detail: str = ""


@dataclass(frozen=True, slots=True)
class GpuLayout:
    """One GPU as it is cut.

    `uuid`: empty where the GPU is lost, for nothing tells it then. `board`: its key in the table of boards, empty:
    none. `mig`: whether MIG is on, None: it has none or that is not known; `mig_pending`: whether it is on after the
    next reset. `why`: what stands against changing it, empty: nothing. `last`: what became of the newest layout that
    was asked for.
    """

    uuid: str
    name: str
    board: str = ""
    mig: bool | None = None
    mig_pending: bool | None = None
    slices: tuple[CutSlice, ...] = ()
    why: str = ""
    last: LayoutOutcome | None = None

    @property
    def layout(self) -> tuple[Slice, ...]:
        """Its slices, sorted; with MIG off that is `whole`."""
        return tuple(sorted(cut.piece for cut in self.slices))


@dataclass(frozen=True, slots=True)
class GpuOperator:
    """Where NVIDIA's GPU operator is: its API server, its namespace, and the ConfigMap with mig-parted's file."""

    config_map: str
    namespace: str = "gpu-operator"
    kubeconfig: str = ""
    context: str = ""


class MigActuator(Protocol):
    """Cuts the GPUs of nodes."""

    async def layouts(self, node: str) -> tuple[GpuLayout, ...]:
        """The GPUs of a node, by index; one that is lost too.

        Raises TargetUnreachableError, ConflictError where it lets nobody cut, NotFoundError.
        """
        ...

    async def apply(self, node: str, gpu: str, layout: Collection[Slice], *, dry_run: bool) -> LayoutOutcome:
        """Give a GPU this layout. Slices that stay are not touched. Never raises for a failing node.

        (`whole`, 0) alone turns MIG off; no slices leave the mode as it is.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class CopyState(StrEnum):
    """What became of starting or draining a copy."""

    DONE = "done"
    REFUSED = "refused"
    """It cannot be, and nothing was changed."""
    WAITING = "waiting"
    """Others are under way, its turn has not come for a while, and nothing was begun: ask again."""
    FAILED = "failed"
    """What starts and stops copies says so. Asking again is safe."""
    UNREACHABLE = "unreachable"
    """Nobody answered: what became of it is not known. Asking again is safe."""


@dataclass(frozen=True, slots=True)
class CopyOutcome:
    """What became of a copy of a model on a slice."""

    gpu: str
    piece: Slice
    model: str
    state: CopyState
    detail: str = ""


class CopyRunner(Protocol):
    """Starts and stops copies of models on slices of nodes."""

    async def run(self, node: str, act: Act, gpu: str, piece: Slice, model: str) -> CopyOutcome:
        """START: a copy of the model runs on the slice. DRAIN: it has left the routing, finished and stopped.

        Issuing a step again changes nothing. Never raises for a failing node. Raises ValueError for another act.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
