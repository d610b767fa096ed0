"""MIG layouts as they are shown: how GPUs are cut, how they should be, and whether that pays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controlplane.domain.fleet import Mode
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
    """One step of a plan, as `controlplane mig plan` tells it."""

    wave: int
    action: str
    uuid: str
    profile: str
    start: int
    model: str = ""
    temporary: bool = False
    interrupts: bool = False


@dataclass(frozen=True, slots=True)
class LayoutPlan:
    """New layouts and their price. `pays`: whether they are worth their disturbance, for the `reasons`.

    Costs are GPUs in use, or their price; `bound` is what no plan can be below. `gain_per_s` and `disturbance` are GPUs
    and GPU seconds, `pays_after_s` their quotient (infinite where nothing is gained). `change_s`: seconds of cutting.
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

    @property
    def changed_slices(self) -> int:
        """Slices created and destroyed, those that are there only meanwhile not counted."""
        return sum(step.action in {"create", "destroy"} and not step.temporary for step in self.steps)


@dataclass(frozen=True, slots=True)
class MigPicture:
    """Layouts now and planned. `mode` None: nothing is configured about MIG, so that nothing is planned."""

    mode: Mode | None = None
    gpus: Signal[tuple[LaidGpu, ...]] = field(default_factory=lambda: Missing("GPUs were never read"))
    models: tuple[LaidModel, ...] = ()
    plan: Signal[LayoutPlan] = field(default_factory=lambda: Missing("mig is not configured"))
