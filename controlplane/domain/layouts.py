"""MIG layouts as they are shown: how GPUs are cut, how they should be, and whether that pays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from controlplane.domain.fleet import Mode
from controlplane.domain.mig import WHOLE, Act
from controlplane.domain.signal import Missing, Signal


@dataclass(frozen=True, slots=True)
class LaidSlice:
    """A slice from memory unit `start` on, `size` units wide, and the models that have a copy on it."""

    profile: str
    start: int
    size: int
    models: tuple[str, ...] = ()

    @property
    def resource(self) -> str:
        """What a pod asks for to get it, with NVIDIA's device plugin and `mig.strategy: mixed`."""
        return "nvidia.com/gpu" if self.profile == "whole" else f"nvidia.com/mig-{self.profile.replace('+', '.')}"


@dataclass(frozen=True, slots=True)
class LaidGpu:
    """One GPU. `board` and `units` (its width) are empty and 0 where no plan can be made of it, because of `why`.

    `planned` None: nothing is planned. Slices are sorted by their start; `node` as in GpuReading.
    """

    uuid: str
    node: str
    name: str
    board: str
    units: int
    now: tuple[LaidSlice, ...]
    planned: tuple[LaidSlice, ...] | None = None
    why: str = ""

    @property
    def created(self) -> tuple[LaidSlice, ...]:
        """Slices that are planned and not there."""
        here = {(piece.profile, piece.start) for piece in self.now}
        return tuple(piece for piece in self.planned or () if (piece.profile, piece.start) not in here)

    @property
    def destroyed(self) -> tuple[LaidSlice, ...]:
        """Slices that are there and in the way of what is planned."""
        stay = {(piece.profile, piece.start) for piece in self.planned or ()}
        gone = () if self.planned is None else self.now
        return tuple(piece for piece in gone if (piece.profile, piece.start) not in stay)


@dataclass(frozen=True, slots=True)
class LaidModel:
    """What a model asks for: arrivals per second that the plan is to hold, and what a copy serves by board and profile.

    Capacities are (low, high, basis); plans rest on the low one. `short_*` of the demand is not served by what runs now
    and as planned; None: nothing was planned yet. `why` it could not be planned with, empty: it was.
    """

    name: str
    demand_per_s: Signal[float]
    capacities: Mapping[tuple[str, str], tuple[float, float, str]] = field(default_factory=dict)
    short_now_per_s: float | None = None
    short_then_per_s: float | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class LayoutStep:
    """One step of a plan, as `controlplane mig plan` tells it. `round`: see LayoutPlan."""

    wave: int
    action: str
    uuid: str
    profile: str
    start: int
    model: str = ""
    temporary: bool = False
    interrupts: bool = False
    round: int = 0

    @property
    def takes_away(self) -> bool:
        """Whether its GPU has less from then on than before the plan, or its MIG mode changes."""
        if self.profile == WHOLE and self.action in {Act.CREATE, Act.DESTROY}:
            return True
        return self.action in {Act.DRAIN, Act.DESTROY} and not self.temporary


@dataclass(frozen=True, slots=True)
class LayoutPlan:
    """New layouts and their price. `pays`: whether they are worth their disturbance, for the `reasons`.

    `between`: it only adds copies on free room, since the last plan of all. Costs are GPUs in use, or their price;
    `bound` is what no plan can be below. `gain_per_s` and `disturbance` are GPUs
    and GPU seconds, `pays_after_s` their quotient (infinite where nothing is gained). `change_s`: seconds of cutting.
    Steps are in waves, each begun when the one before is done, and waves in rounds, so that few GPUs are out of service
    at a time: at the end of a round none is. `waiting`: the GPUs that are out of service and wait for a copy whose
    start failed before, with what they are to have then.
    """

    layouts: Mapping[str, tuple[LaidSlice, ...]]
    steps: tuple[LayoutStep, ...]
    pays: bool
    reasons: tuple[str, ...]
    cost: float
    bound: float
    gain_per_s: float
    disturbance: float
    pays_after_s: float
    change_s: float
    short_now_per_s: Mapping[str, float] = field(default_factory=dict)
    short_then_per_s: Mapping[str, float] = field(default_factory=dict)
    unserved: Mapping[str, str] = field(default_factory=dict)
    between: bool = False
    waiting: Mapping[str, tuple[LaidSlice, ...]] = field(default_factory=dict)

    @property
    def rounds(self) -> int:
        """In how many rounds it is carried out."""
        return max((step.round + 1 for step in self.steps), default=0)

    @property
    def changed_slices(self) -> int:
        """Slices created and destroyed, those that are there only meanwhile not counted."""
        return sum(step.action in {"create", "destroy"} and not step.temporary for step in self.steps)


class ChangeState(StrEnum):
    """How carrying out a plan stands."""

    UNDER_WAY = "under_way"
    DONE = "done"
    HELD = "held"
    """No further step was begun, since something had changed or a person forbade it. What was done stays."""
    RESET_REQUIRED = "reset_required"
    """A GPU changes its MIG mode at its next reset only, which is a person's to do. What was done stays."""
    FAILED = "failed"
    """A step failed. What was done before it stays."""


ENDS = tuple(state for state in ChangeState if state is not ChangeState.UNDER_WAY)


class StepKind(StrEnum):
    """What a step is, as steps are counted."""

    CREATE = "create"
    DESTROY = "destroy"
    MODE = "mode"
    """MIG turned on or off."""
    START = "start"
    """A copy started, until it answers."""
    DRAIN = "drain"
    NODE = "node"
    """Under the GPU operator: a node drained, its GPUs cut, and opened again."""


class StepEnd(StrEnum):
    """What came of a step."""

    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    """Nothing was changed."""
    UNREACHABLE = "unreachable"
    """Nobody answered: what came of it is not known."""
    RESET_REQUIRED = "reset_required"
    HELD = "held"
    """A person forbade it in the middle, and nothing was cut; or whoever leads next is to go on with it."""


def step_ends() -> Iterator[tuple[StepKind, StepEnd]]:
    """What may come of which steps."""
    for kind in StepKind:
        for end in (StepEnd.DONE, StepEnd.FAILED, StepEnd.REFUSED, StepEnd.UNREACHABLE):
            yield kind, end
    yield StepKind.MODE, StepEnd.RESET_REQUIRED
    yield StepKind.NODE, StepEnd.HELD


@dataclass(frozen=True, slots=True)
class LayoutChange:
    """A plan that is or was carried out: `done` of `steps`. `why` it was held or failed.

    `node`: where it failed. `ended_at` None: it is under way. `again_at`: no plan is carried out before that.
    """

    state: ChangeState
    began_at: float
    steps: int
    done: int = 0
    why: str = ""
    ended_at: float | None = None
    again_at: float = 0.0
    node: str = ""


@dataclass(frozen=True, slots=True)
class FailingCopy:
    """A copy of a model on a GPU whose start failed so often in a row; it is not tried again before `retry_at`."""

    model: str
    uuid: str
    failures: int
    retry_at: float


@dataclass(frozen=True, slots=True)
class MigMemory:
    """What is kept of changes for whoever decides next, a process that begins anew too.

    `plan`: the last that was begun, None: none was; one `between` two is not it. `out`: the GPUs that were out of
    service before it. `change`: the newest, and `failures`: how many of them rested since one was done. `failing`: the
    copies whose start failed.
    """

    plan: LayoutPlan | None = None
    out: frozenset[str] = frozenset()
    change: LayoutChange | None = None
    failures: int = 0
    failing: tuple[FailingCopy, ...] = ()


@dataclass(frozen=True, slots=True)
class MigPicture:
    """Layouts now and planned, and the newest change. `mode` None: nothing is configured about MIG, nothing planned.

    `held`: why a plan that pays is not carried out, empty: it is, or there is none. `changes` that ended since the
    process began, by their state, and their `steps`, by what they were and what came of them.
    """

    mode: Mode | None = None
    gpus: Signal[tuple[LaidGpu, ...]] = field(default_factory=lambda: Missing("GPUs were never read"))
    models: tuple[LaidModel, ...] = ()
    plan: Signal[LayoutPlan] = field(default_factory=lambda: Missing("mig is not configured"))
    change: LayoutChange | None = None
    held: str = ""
    changes: Mapping[ChangeState, int] = field(default_factory=dict)
    steps: Mapping[tuple[StepKind, StepEnd], int] = field(default_factory=dict)
