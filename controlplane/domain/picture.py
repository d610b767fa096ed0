"""What the loop last knew, as one value for those who look (API, metrics page, CLI)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controlplane.domain.alerts import BurnAlert
from controlplane.domain.conditions import Condition
from controlplane.domain.decision import Action, Decision, Outcome, ReasonCode, Step, Verdict
from controlplane.domain.fleet import Fleet, Member
from controlplane.domain.instructions import Freeze, Override
from controlplane.domain.layouts import MigPicture
from controlplane.domain.objectives import Counts, Judgement
from controlplane.domain.observation import FleetReading
from controlplane.domain.placing import Placement
from controlplane.domain.rollout import Rollout
from controlplane.domain.signal import Signal
from controlplane.domain.startups import Knob, StartupTimes
from controlplane.domain.state import Circuit


@dataclass(frozen=True, slots=True)
class LoopHealth:
    """How the loop is doing. `last_tick_at` 0 before the first tick; `problem` empty when the last one went well.

    `unwritten` ticks wait in memory for the store to come back, the oldest since `unwritten_since` (None: none waits),
    at most those of `unwritten_most_s` seconds. `lost` ticks were let go of since the start because too many waited:
    what was measured in them counts as unmeasured, and what was decided is not told.

    Ticks are due every `interval_s` seconds; the last one that was due began `late_s` seconds late, None: none was yet.
    `started_at`: when this process took over from what the store held. `leading`: whether it decides and acts; `leader`
    holds the lease of `epoch` as far as is known ("": nobody, or the store is not shared), and this process took one
    `takeovers` times. `store_failing`: whether the last tick could not read or write the store, None before the first.
    """

    ticks: int = 0
    skipped: int = 0
    last_tick_at: float = 0.0
    last_tick_s: float = 0.0
    problem: str = ""
    unwritten: int = 0
    unwritten_since: float | None = None
    unwritten_most_s: float = 0.0
    lost: int = 0
    interval_s: float = 0.0
    late_s: float | None = None
    started_at: float = 0.0
    leading: bool = False
    leader: str = ""
    epoch: int = 0
    takeovers: int = 0
    store_failing: bool | None = None

    @property
    def stands_by(self) -> bool:
        """Whether another control plane leads."""
        return self.leader != "" and not self.leading


@dataclass(frozen=True, slots=True)
class Totals:
    """What was counted since the start of the process.

    `objectives` are the slices closed, by model and key of the objective. `model_gpu_s` and `model_cost` are by model
    and server, `gpu_s` and `gpu_busy_s` by node and GPU, `reads` by server and whether it was read. `turns` are the
    moments of the last hour at which a model on a server turned from raising to lowering or back.
    """

    objectives: Mapping[tuple[str, str], Counts] = field(default_factory=dict)
    model_gpu_s: Mapping[tuple[str, str], float] = field(default_factory=dict)
    model_cost: Mapping[tuple[str, str], float] = field(default_factory=dict)
    gpu_s: Mapping[tuple[str, str], float] = field(default_factory=dict)
    gpu_busy_s: Mapping[tuple[str, str], float] = field(default_factory=dict)
    reads: Mapping[tuple[str, bool], int] = field(default_factory=dict)
    decisions: Mapping[tuple[Step, ReasonCode], int] = field(default_factory=dict)
    effects: Mapping[Verdict, int] = field(default_factory=dict)
    turns: Mapping[tuple[str, str], tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Picture:
    """The present fleet and its newest reading, with judgements and decisions (one per unit) of the last tick.

    `workloads` says which members of each workload were found last, and how old that is; `startups` what was learned of
    start-up times, by model, workload and knob. `alerts` by model, those that do not fire among them.
    `failed`: the newest failed outcome of each unit since a day before the start, as long as no success followed.
    `conditions`: what is wrong now. `circuits`: servers and workloads at which steps found nobody of late.
    `placements` by gateway, those that the last tick went by.
    `rollouts` by unit. `mig`: how GPUs are cut and should be.
    """

    at: float
    fleet: Fleet
    reading: FleetReading
    judgements: Mapping[str, tuple[Judgement, ...]] = field(default_factory=dict)
    decisions: tuple[Decision, ...] = ()
    in_flight: tuple[Action, ...] = ()
    overrides: tuple[Override, ...] = ()
    freezes: tuple[Freeze, ...] = ()
    health: LoopHealth = field(default_factory=LoopHealth)
    workloads: Mapping[str, Signal[tuple[Member, ...]]] = field(default_factory=dict)
    startups: Mapping[str, Mapping[Knob, StartupTimes]] = field(default_factory=dict)
    alerts: Mapping[str, tuple[BurnAlert, ...]] = field(default_factory=dict)
    totals: Totals = field(default_factory=Totals)
    failed: tuple[Outcome, ...] = ()
    conditions: tuple[Condition, ...] = ()
    circuits: Mapping[str, Circuit] = field(default_factory=dict)
    placements: Mapping[str, Signal[Placement]] = field(default_factory=dict)
    rollouts: Mapping[str, Rollout] = field(default_factory=dict)
    mig: MigPicture = field(default_factory=MigPicture)
