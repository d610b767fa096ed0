"""The fleet as JSON: servers, models, objectives, GPUs, the loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pydantic import BaseModel, Field

from controlplane.act.failures import classify
from controlplane.api.views.alerts import AlertView, RefusalView, alerts_of
from controlplane.api.views.decisions import ActionView, DecisionView
from controlplane.api.views.gpus import GpuView, gpus_view
from controlplane.api.views.people import FreezeView, OverrideView
from controlplane.api.views.serving import GaugeView, ServingView, host_view
from controlplane.api.views.signals import SignalView, View, part, within
from controlplane.api.views.workloads import WorkloadView, workload_view
from controlplane.domain.decision import Action, Decision
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import Mode, ModelSpec, Phase, ServerKind, ServerSpec
from controlplane.domain.objectives import Indicator, IndicatorSource, Judgement, Objective, Period
from controlplane.domain.observation import ControlMode, ModelReading, ModelState, ServerReading
from controlplane.domain.picture import LoopHealth, Picture
from controlplane.domain.rollout import RolloutPhase
from controlplane.domain.signal import Missing, Signal, last_value
from controlplane.domain.state import unit_key
from controlplane.loop.notices import Refusal
from controlplane.publish.metrics.figures import capacity, demand, desired_instances


class ObjectiveView(BaseModel):
    """An objective and how it stands. Shares are null where no event was counted."""

    objective: str = Field(examples=["latency_100ms_gateway"])
    indicator: Indicator
    source: IndicatorSource
    target: float
    threshold_s: float | None
    floor_per_s: float | None = Field(default=None, description="Of throughputs")
    version: str = Field(default="", description="The only version of the model that counts; empty: all")
    told: SignalView[bool] | None = Field(
        default=None, description="Whether the Prometheus that is asked tells it; null: none is asked"
    )
    warning: str = Field(default="", description="What is odd about what it tells")
    window_s: float = Field(description="Of a calendar window its nominal length")
    period: Period | None = Field(default=None, description="Of a calendar window")
    timezone: str | None = Field(default=None, description="Of a calendar window")
    attainment_low: float | None = Field(default=None, description="Events in a cut bucket counted as bad")
    attainment_high: float | None = Field(default=None, description="Events in a cut bucket counted as good")
    budget_left: float | None = Field(default=None, description="1 untouched, 0 spent, negative overspent")
    burn_5m: float | None = None
    burn_1h: float | None = None
    burn_6h: float | None = None
    exhausted_1h_s: float | None = Field(
        default=None, description="Until the budget is spent at the burn rate of the last hour; null: it lasts"
    )
    exhausted_6h_s: float | None = Field(default=None, description="The same at that of the last 6 hours")
    coverage: float | None = Field(
        default=None, description="Measured share of what is over of the window; null: not judged yet"
    )
    measured_s: float | None = Field(default=None, description="How much of it was measured")
    events: int | None = None

    @classmethod
    def of(cls, objective: Objective, judgement: Judgement | None, picture: Picture, model: str) -> ObjectiveView:
        """As it was judged last; None: not yet."""
        ratio = picture.reading.ratios.get(model, {}).get(objective.key)
        return cls(
            objective=objective.key,
            indicator=objective.indicator,
            source=objective.source,
            target=objective.target,
            threshold_s=objective.threshold_s,
            floor_per_s=objective.floor_per_s,
            version=objective.model_version,
            told=None if ratio is None else SignalView[bool].of(ratio.live, picture.at),
            warning="" if ratio is None else ratio.warning,
            window_s=objective.window_s,
            period=calendar.period if (calendar := objective.calendar) else None,
            timezone=calendar.zone.key if calendar else None,
            **({} if judgement is None else _standing(judgement)),
        )


class FailureView(BaseModel):
    """What a probe got in place of an answer, its class and what to do about it."""

    message: str
    failure: FailureClass
    remedy: str

    @classmethod
    def of(cls, message: str) -> FailureView:
        """By the failure table."""
        failure, remedy = classify(message)
        return cls(message=message, failure=failure, remedy=remedy)


class RolloutView(View):
    """Where the rollout of another version stands on a server."""

    id: str = Field(description="That of the override and operation")
    version: str
    before: list[str] = Field(description="The versions that served when it began")
    phase: RolloutPhase
    since: float = Field(description="When the phase began")
    why: str = Field(description="Why it failed; empty: it has not")


class UnitView(BaseModel):
    """One model on one server."""

    server: str
    state: SignalView[ModelState]
    reason: str = Field(description="What the server says about the state")
    instances: SignalView[int]
    desired_instances: SignalView[int]
    pending: SignalView[int]
    running: SignalView[int]
    demand_per_s: SignalView[float]
    capacity_per_s: SignalView[float]
    gpus: list[str]
    versions: list[str] = Field(description="Those that are ready, on a Triton")
    rollout: RolloutView | None = Field(description="Of another version; null: there is none")
    serving: ServingView
    probe_failure: FailureView | None = Field(description="Of the newest probe; null where that was answered")
    decision: DecisionView | None = Field(description="The last one; null before the first tick")
    in_flight: ActionView | None


class StartupTimesView(BaseModel):
    """How long a knob takes until what it adds serves, learned from start-ups."""

    workload: str = Field(description="That of the servers; empty: those that the configuration names")
    knob: str = Field(description="load, reload, set_instances, or replica: a whole server")
    seen: int = Field(description="Start-ups behind it, the newest 50 at most")
    assumed: int = Field(description="So many more were assumed: until ten were seen the times are rather too long")
    p50_s: float
    p90_s: float


class ModelView(BaseModel):
    """A model, where it runs and how it fares."""

    name: str
    served_name: str
    mode: Mode
    priority: int
    instances_min: int
    instances_max: int
    idle_unload_s: float | None
    wake_by_ensure: bool
    workloads: list[WorkloadView] = Field(description="Those whose servers are among the units once they are found")
    units: list[UnitView]
    objectives: list[ObjectiveView]
    alerts: list[AlertView] = Field(description="Burn alerts of its objectives, those that do not fire among them")
    startups: list[StartupTimesView] = Field(description="Of knobs that were seen to start something")
    overrides: list[OverrideView]
    freezes: list[FreezeView] = Field(description="Those of this model and those that hold for all")


class ServerView(BaseModel):
    """A server now."""

    name: str
    kind: ServerKind
    http: str
    workload: str | None = Field(description="That of a discovered server")
    phase: Phase | None = Field(description="Where a discovered server is in its life")
    live: SignalView[bool]
    read_age_s: float | None = Field(description="Since anything of it was read; null: never")
    problem: str = Field(description="What went wrong when it was read last; empty: nothing")
    control: SignalView[ControlMode] = Field(description="Whether its models may be loaded and unloaded")
    incarnation: int = Field(description="Grows with each restart that was noticed")
    models: dict[str, SignalView[ModelState]]
    host: SignalView[list[GaugeView]] = Field(description="Its machine and GPUs, as its own page tells them")


class HealthView(BaseModel):
    """How the loop is doing."""

    interval_s: float = Field(description="Seconds between two ticks, as configured")
    ticks: int
    skipped: int
    last_tick_at: float | None = Field(description="null before the first tick")
    last_tick_s: float
    problem: str
    unwritten: int = Field(description="Ticks that wait in memory for the store")
    unwritten_since: float | None = Field(description="When the oldest of them was; null: none waits")
    unwritten_most_s: float = Field(description="Older ones are lost")
    lost: int = Field(description="Ticks lost since the start: their time counts as unmeasured")
    leading: bool = Field(description="Whether this control plane decides and acts")
    leader: str = Field(description="Which one holds the lease; empty: none does, or it is not known")
    epoch: int = Field(description="Of the lease; rises with each take-over")
    takeovers: int = Field(description="Times this process took the lease")


class CircuitView(BaseModel):
    """A server or workload that is left alone for a while, because steps in a row found nobody there."""

    target: str
    failures: int = Field(description="Steps in a row that found nobody")
    left_s: float = Field(description="Until one step tries it; 0: the next one does")


class FleetView(BaseModel):
    """Everything at a glance."""

    at: float
    servers: list[ServerView]
    workloads: list[WorkloadView]
    models: list[ModelView]
    gpus: SignalView[list[GpuView]]
    gpu_nodes: dict[str, SignalView[bool]] = Field(description="Whether GPUs are told where an agent runs, by its name")
    gateways: dict[str, SignalView[bool]]
    overrides: list[OverrideView]
    freezes: list[FreezeView]
    circuits: list[CircuitView]
    loop: HealthView
    refusals: list[RefusalView] = Field(
        description="Alertmanagers that take no alerts, where the control plane sends them itself"
    )


def fleet_view(picture: Picture, max_age_s: float, refusals: Mapping[str, Refusal]) -> FleetView:
    """The whole picture; a decision older than `max_age_s` seconds shows its figures as stale."""
    now = picture.at
    return FleetView(
        at=now,
        servers=[server_view(picture, spec) for spec in picture.fleet.servers],
        workloads=[workload_view(picture, spec) for spec in picture.fleet.workloads],
        models=[model_view(picture, spec, max_age_s) for spec in picture.fleet.models],
        gpus=gpus_view(picture.reading.gpus, picture.fleet, now),
        gpu_nodes={name: SignalView[bool].of(up, now) for name, up in picture.reading.gpu_nodes.items()},
        gateways={name: SignalView[bool].of(up, now) for name, up in picture.reading.gateways.items()},
        overrides=[OverrideView.model_validate(o) for o in picture.overrides],
        freezes=[FreezeView.model_validate(f) for f in picture.freezes],
        circuits=[
            CircuitView(target=name, failures=one.failures, left_s=max(0.0, one.until - now))
            for name, one in picture.circuits.items()
            if one.is_open
        ],
        loop=_health(picture.health),
        refusals=RefusalView.of(refusals),
    )


def server_view(picture: Picture, spec: ServerSpec) -> ServerView:
    """One server."""
    now = picture.at
    never = Missing("never read")
    entry = picture.reading.servers.get(spec.name) or ServerReading(spec.name, never, never, 0, {})
    member = picture.fleet.members.get(spec.name)
    return ServerView(
        name=spec.name,
        kind=spec.kind,
        http=spec.http,
        workload=member.workload if member else None,
        phase=member.phase if member else None,
        live=SignalView[bool].of(entry.live, now),
        read_age_s=None if entry.read_at is None else max(0.0, now - entry.read_at),
        problem=entry.problem,
        control=SignalView[ControlMode].of(entry.control, now),
        incarnation=entry.incarnation,
        models={name: SignalView[ModelState].of(_state(seen), now) for name, seen in sorted(entry.models.items())},
        host=host_view(entry.host, now),
    )


def model_view(picture: Picture, spec: ModelSpec, max_age_s: float) -> ModelView:
    """One model."""
    judged = {j.objective.key: j for j in picture.judgements.get(spec.name, ())}
    decisions = {d.server: d for d in picture.decisions if d.model == spec.name}
    flying = {a.server: a for a in picture.in_flight if a.model == spec.name}
    return ModelView(
        name=spec.name,
        served_name=spec.served_name,
        mode=spec.mode,
        priority=spec.priority,
        instances_min=spec.instances_min,
        instances_max=spec.instances_max,
        idle_unload_s=spec.idle_unload_s,
        wake_by_ensure=spec.wake.ensure,
        workloads=[workload_view(picture, w) for w in picture.fleet.workloads if w.name in spec.workloads],
        units=[
            _unit(picture, spec, server, decisions.get(server), flying.get(server), max_age_s)
            for server in spec.runs_on
        ],
        objectives=[
            ObjectiveView.of(objective, judged.get(objective.key), picture, spec.name) for objective in spec.objectives
        ],
        alerts=alerts_of(picture, spec),
        startups=[
            StartupTimesView(workload=workload, knob=knob, **asdict(times))
            for (workload, knob), times in picture.startups.get(spec.name, {}).items()
        ],
        overrides=[OverrideView.model_validate(o) for o in picture.overrides if o.model == spec.name],
        freezes=[FreezeView.model_validate(f) for f in picture.freezes if f.holds(spec.name)],
    )


def _unit(
    picture: Picture,
    spec: ModelSpec,
    server: str,
    decision: Decision | None,
    flying: Action | None,
    max_age_s: float,
) -> UnitView:
    now = picture.at
    entry = picture.reading.servers.get(server)
    seen: Signal[ModelReading] = Missing("the server was never read")
    if entry is not None:
        seen = entry.models.get(spec.name, entry.live if isinstance(entry.live, Missing) else Missing("never read"))
    reading = last_value(seen) or ModelReading(ModelState.ABSENT)
    rollout = picture.rollouts.get(unit_key(spec.name, server))
    return UnitView(
        server=server,
        state=SignalView[ModelState].of(_state(seen), now),
        reason=reading.reason,
        instances=SignalView[int].of(within(seen, reading.instances), now),
        desired_instances=SignalView[int].of(desired_instances(decision, now, max_age_s), now),
        pending=SignalView[int].of(within(seen, reading.pending), now),
        running=SignalView[int].of(within(seen, reading.running), now),
        demand_per_s=SignalView[float].of(demand(decision, now, max_age_s), now),
        capacity_per_s=SignalView[float].of(capacity(decision, now, max_age_s), now),
        gpus=list(reading.gpus),
        versions=list(reading.versions),
        rollout=None if rollout is None else RolloutView.model_validate(rollout),
        serving=ServingView.of(seen, reading, now, max_age_s),
        probe_failure=FailureView.of(reading.recent_failures[-1]) if reading.recent_failures else None,
        decision=None if decision is None else DecisionView.of(decision),
        in_flight=None if flying is None else ActionView.model_validate(flying),
    )


def _state(seen: Signal[ModelReading]) -> Signal[ModelState]:
    return seen if isinstance(seen, Missing) else part(seen, seen.value.state)


def _standing(judgement: Judgement) -> dict[str, Any]:
    return {
        "attainment_low": judgement.attainment_low,
        "attainment_high": judgement.attainment_high,
        "budget_left": judgement.budget_left,
        "burn_5m": judgement.burn_5m,
        "burn_1h": judgement.burn_1h,
        "burn_6h": judgement.burn_6h,
        "exhausted_1h_s": judgement.exhausted_1h_s,
        "exhausted_6h_s": judgement.exhausted_6h_s,
        "coverage": judgement.window.coverage,
        "measured_s": judgement.window.measured_s,
        "events": judgement.window.events,
    }


def _health(health: LoopHealth) -> HealthView:
    return HealthView(
        interval_s=health.interval_s,
        ticks=health.ticks,
        skipped=health.skipped,
        last_tick_at=health.last_tick_at or None,
        last_tick_s=health.last_tick_s,
        problem=health.problem,
        unwritten=health.unwritten,
        unwritten_since=health.unwritten_since,
        unwritten_most_s=health.unwritten_most_s,
        lost=health.lost,
        leading=health.leading,
        leader=health.leader,
        epoch=health.epoch,
        takeovers=health.takeovers,
    )
