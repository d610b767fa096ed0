"""What planning layouts is asked and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from controlplane.decide.mig.boards import Board, Slice
from controlplane.decide.mig.layouts import Layout
from controlplane.domain.mig import Act


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU as it is: its slices, sorted, and by slice the models that have a copy on it, where that is known."""

    uuid: str
    board: Board
    layout: Layout = ()
    price: float = 1.0
    models: Mapping[Slice, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MigModel:
    """A model: what is asked of it, and what one copy serves by the profile of its slice, both per second.

    `share`: its copies may be on slices together with those of other such models.
    """

    name: str
    demand: float
    profiles: Mapping[str, float]
    min_memory_gib: float = 0.0
    share: bool = False


@dataclass(frozen=True, slots=True)
class MigLimits:
    """How far is searched. None of these is a time: the same question has the same answer on any machine.

    `nodes` are those of the solver's tree, for each goal. Programs of more than `exact_columns` columns, which are of
    fleets with many GPUs whose present layouts differ, are solved for the fewest changed slices among `near_columns`
    columns, with `near_nodes` and to `near_gap` off the best. `patterns`: sets of models that may share a slice, for
    each profile, beyond which not all of them are looked at.
    """

    nodes: int = 500
    exact_columns: int = 250
    near_columns: int = 800
    near_nodes: int = 1
    near_gap: float = 0.15
    patterns: int = 50


@dataclass(frozen=True, slots=True)
class MigQuestion:
    """Everything that a plan rests on."""

    gpus: tuple[Gpu, ...]
    models: tuple[MigModel, ...]
    limits: MigLimits = MigLimits()


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A slice of a GPU."""

    uuid: str
    piece: Slice


@dataclass(frozen=True, slots=True)
class Assignment:
    """A copy of a model on a slice: it serves `capacity` there, per second, with `share` of the slice's time."""

    model: str
    place: Place
    capacity: float
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class MigStep:
    """One step. Steps of a `wave` may go on at the same time; a wave begins when the one before is done.

    `temporary`: of a slice that is there only meanwhile. `interrupts`: the model has less capacity from then on than
    it has before all steps or after them, whichever is less.
    """

    wave: int
    act: Act
    place: Place
    model: str = ""
    temporary: bool = False
    interrupts: bool = False


class Lack(StrEnum):
    """Why a part of a model's demand is not served."""

    PROFILES = "profiles"
    """No GPU has a profile on which the model runs and has memory enough."""
    GPUS = "gpus"
    """There are too few GPUs for all models."""


@dataclass(frozen=True, slots=True)
class Unserved:
    """Demand that no copy serves: how much of it, per second, and why."""

    model: str
    short: float
    why: Lack


@dataclass(frozen=True, slots=True)
class MigGoal:
    """How far one goal was reached; it is minimised, and nothing below its proved `bound` is possible."""

    name: str
    value: float
    bound: float

    @property
    def gap(self) -> float:
        """By so much the value may be off the best one, as a share of itself; 0: it is best."""
        return max(0.0, self.value - self.bound) / abs(self.value) if self.value else 0.0


@dataclass(frozen=True, slots=True)
class MigPlan:
    """What the layouts should be, which model is where, how to get there, what is left out, and how good it is.

    `layouts` has every GPU by its UUID. `goals`, the later ones as far as those before them allow: `unserved` demand,
    `cost` (GPUs used, or their price), `drained_copies`, `changed_slices` and `room`: for how many larger profiles
    there is none. `faults`: what the solver said where it failed; values and bounds hold all the same.
    """

    layouts: Mapping[str, Layout]
    assignments: tuple[Assignment, ...]
    steps: tuple[MigStep, ...]
    unserved: tuple[Unserved, ...]
    goals: tuple[MigGoal, ...]
    faults: tuple[str, ...] = ()

    @property
    def gpus_used(self) -> int:
        """GPUs on which a model has a copy."""
        return len({a.place.uuid for a in self.assignments})

    @property
    def cost(self) -> MigGoal:
        """GPUs used or their price, with what is proved of it."""
        return next(goal for goal in self.goals if goal.name == "cost")

    @property
    def optimal(self) -> bool:
        """Whether no plan serves more, and none that serves as much costs less: proved by the solver."""
        return all(goal.gap == 0.0 for goal in self.goals if goal.name in {"unserved", "cost"})
