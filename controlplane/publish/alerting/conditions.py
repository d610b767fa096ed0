"""What is wrong now, as values: the ground of every alert that is not about an error budget or the control plane.

Pure. What is not known is never taken for healthy and never for anything else: of a server that cannot be read it is
said that it cannot be read, and nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from operator import attrgetter

from controlplane.domain.conditions import AlertName, Condition
from controlplane.domain.decision import Decision, Outcome, Reason, ReasonCode, Step
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import ModelSpec, Phase, workload_of
from controlplane.domain.observation import Interval, ModelReading, ModelState, SleepState
from controlplane.domain.picture import Picture
from controlplane.domain.received import FREEZES_AS
from controlplane.domain.signal import Known, known
from controlplane.domain.startups import REPLICA, StartupTimes
from controlplane.publish.alerting.mig import change_failed
from controlplane.publish.alerting.unread import unread
from controlplane.publish.metrics.gpus import gpu_label
from controlplane.slo.phrases import figure

Classify = Callable[[str], tuple[FailureClass, str]]
"""The class of a server's message, and what to do about it."""

FLAPS = 4
"""So many turns between raising and lowering within an hour are too many."""
_HOUR_S = 3600.0
ENDING_S = 900.0
"""So long before it ends, people are told of what they set."""
_FRESH_S = 60.0
_FRESH_TICKS = 3.0
_RECENT_S = 60.0
_FAILURES = 3
_STARTUPS_SEEN = 3
_SLOWER = 1.5
_SLOWER_S = 10.0
_LOADS = (Step.LOAD, Step.RELOAD, Step.SET_INSTANCES)

APPLICATION_XIDS = frozenset({13, 31, 43, 45, 68, 109})
"""XIDs that a program on the GPU causes, while the GPU itself is well: graphics engine exception, memory page fault,
GPU stopped processing, preemptive cleanup, video processor exception, context switch timeout. Source: NVIDIA's XID
catalogue, and what its Kubernetes device plugin and DRA driver ignore by default."""
HARMFUL_THROTTLES = ("hw_slowdown", "sw_thermal", "hw_thermal", "hw_power_brake")
"""Heat and power supply. A power cap or clocks that somebody set are as they should be."""


def conditions(picture: Picture, classify: Classify) -> tuple[Condition, ...]:
    """All that is wrong in the picture, each once. `classify` tells the class of a reason in a repository index."""
    found = (
        *_units(picture, classify),
        *_replicas_refused(picture),
        *_unscheduled(picture),
        *_slow_startups(picture),
        *change_failed(picture.mig),
        *_gpus(picture),
        *unread(picture),
        *_endings(picture),
    )
    each: dict[Condition, Condition] = {}
    for one in found:
        each.setdefault(replace(one, detail=""), one)
    return tuple(each.values())


@dataclass(frozen=True, slots=True)
class _Unit:
    """A model on a server; `reading` and `decision` only where they are known and fresh.

    `reasons` are the decision's by code, of alike ones the last that tells numbers or words.
    """

    spec: ModelSpec
    server: str
    reading: Known[ModelReading] | None
    decision: Decision | None
    reasons: Mapping[ReasonCode, Reason]

    def condition(self, alert: AlertName, cause: str = "", detail: str = "") -> Condition:
        return Condition(alert, model=self.spec.name, server=self.server, cause=cause, detail=detail)


def _by_code(decision: Decision | None) -> Mapping[ReasonCode, Reason]:
    found: dict[ReasonCode, Reason] = {}
    for reason in decision.reasons if decision is not None else ():
        if reason.numbers or reason.words or reason.code not in found:
            found[reason.code] = reason
    return found


def _units(picture: Picture, classify: Classify) -> Iterator[Condition]:
    fresh_s = max(_FRESH_S, _FRESH_TICKS * picture.health.interval_s)
    decisions = {(d.model, d.server): d for d in picture.decisions if picture.at - d.at <= fresh_s}
    failed = {(o.action.model, o.action.server): o for o in picture.failed}
    for spec in picture.fleet.models:
        for server in spec.runs_on:
            key = (spec.name, server)
            entry = picture.reading.servers.get(server)
            signal = entry.models.get(spec.name) if entry is not None else None
            decision = decisions.get(key)
            unit = _Unit(spec, server, signal if isinstance(signal, Known) else None, decision, _by_code(decision))
            yield from _load_failed(unit, failed.get(key), classify)
            yield from _failing(unit, picture)
            yield from _refused(unit)
            turns = picture.totals.turns.get(key, ())
            if len(turns) >= FLAPS and sum(at > picture.at - _HOUR_S for at in turns) >= FLAPS:
                yield unit.condition(AlertName.SCALING_FLAPPING, detail=f"{len(turns)} turns within an hour")


def _load_failed(unit: _Unit, failed: Outcome | None, classify: Classify) -> Iterator[Condition]:
    """The last action on it failed and is still wanted, or its server says why it could not load it."""
    if failed is not None and _stands(unit, failed):
        failure = failed.failure or FailureClass.UNKNOWN
        yield unit.condition(AlertName.MODEL_LOAD_FAILED, failure.value, _with(failed.detail, failed.remedy))
        return
    reading = unit.reading.value if unit.reading is not None else None
    if reading is None or known(reading.sleep) not in {None, SleepState.AWAKE}:
        return  # that it sleeps is no failure
    if reading.state is ModelState.UNAVAILABLE and reading.reason:
        failure, remedy = classify(reading.reason)
        yield unit.condition(AlertName.MODEL_LOAD_FAILED, failure.value, _with(reading.reason, remedy))


def _stands(unit: _Unit, failed: Outcome) -> bool:
    """Whether a failure still matters: neither mended since, nor is what was tried no longer wanted.

    That somebody else gave a newer instruction is none.
    """
    action, decision = failed.action, unit.decision
    if action.step not in _LOADS or failed.failure is FailureClass.SUPERSEDED:
        return False
    newer = unit.reading is not None and unit.reading.observed_at > failed.finished_at
    if newer and unit.reading is not None and action.step is Step.LOAD and unit.reading.value.state is ModelState.READY:
        return False
    if decision is None or decision.at <= failed.finished_at or decision.current is None:
        return True
    # A raise that failed for want of memory is not tried again for a while, though it is wanted.
    held = ReasonCode.SATURATED in unit.reasons or ReasonCode.BACK_OFF in unit.reasons
    return held or decision.current != decision.target


def _failing(unit: _Unit, picture: Picture) -> Iterator[Condition]:
    """It is ready by its server's account, and its requests fail."""
    if unit.reading is None or unit.reading.value.state is not ModelState.READY:
        return
    if ReasonCode.DEAD_BACKEND in unit.reasons:
        yield unit.condition(AlertName.MODEL_FAILING, "dead_backend", "requests fail as with a dead process")
        return
    failures = _all_failed(unit.reading.value.intervals, picture.at - _RECENT_S)
    if failures >= _FAILURES:
        yield unit.condition(AlertName.MODEL_FAILING, "requests", f"all {failures} requests of the last minute failed")
        return
    probes = [p for p in picture.reading.probes.get(unit.spec.name, ()) if p.server == unit.server]
    if len(probes) >= _FAILURES and all(probe.error for probe in probes[-_FAILURES:]):
        yield unit.condition(AlertName.MODEL_FAILING, "probes", probes[-1].error)


def _all_failed(intervals: tuple[Interval, ...], since: float) -> int:
    """How many requests failed in the newest readings, 0 when one succeeded."""
    failures = 0
    for interval in reversed(intervals):
        if interval.end <= since:
            break
        failures += interval.failed
        if interval.completed > interval.failed + interval.rejected + interval.canceled:
            return 0
    return failures


def _refused(unit: _Unit) -> Iterator[Condition]:
    """Demand asks for more than bounds or a saturated device let be."""
    decision = unit.decision
    if decision is None or decision.target is None or not decision.target.loaded:
        return
    most, count = unit.spec.instances_max, decision.target.instances
    bounds = unit.reasons.get(ReasonCode.BOUNDS)
    if bounds is not None and bounds.numbers.get("wanted", 0.0) > bounds.numbers.get("max", float("inf")):
        detail = f"{bounds.numbers['wanted']:.0f} instances wanted, at most {most} allowed"
        yield unit.condition(AlertName.CAPACITY_REFUSED, "bounds", detail)
        return
    if ReasonCode.SATURATED in unit.reasons:
        detail = "more instances give no more throughput: the device is saturated"
        yield unit.condition(AlertName.CAPACITY_REFUSED, "saturated", detail)
        return
    if count < most:
        return
    # Triton ends an in-place change only once its queue was empty, so that too few instances never are all there.
    if decision.binding is ReasonCode.IN_FLIGHT and (waiting := _backlog(unit, most)):
        detail = f"{waiting} requests wait, and the {most} instances allowed are asked for already"
        yield unit.condition(AlertName.CAPACITY_REFUSED, "bounds", detail)
    demand, capacity = unit.reasons.get(ReasonCode.DEMAND), unit.reasons.get(ReasonCode.CAPACITY)
    if demand is None or capacity is None or capacity.numbers.get("instances", 0.0) < most:
        return
    # Counts above the bounds are not even looked at, so nothing else says that they are needed.
    wanted_per_s, held_per_s = demand.numbers.get("demand_per_s", 0.0), capacity.numbers.get("capacity_per_s", 0.0)
    if wanted_per_s > held_per_s:
        detail = f"{figure(wanted_per_s)}/s to be held, the {most} instances allowed hold {figure(held_per_s)}/s"
        yield unit.condition(AlertName.CAPACITY_REFUSED, "bounds", detail)


def _backlog(unit: _Unit, instances: int) -> int:
    """Requests that wait beyond one batch for each of so many instances; 0 where that is not known."""
    reading = unit.reading.value if unit.reading is not None else None
    pending = known(reading.pending) if reading is not None else None
    if reading is None or pending is None:
        return 0
    batch = max(1, reading.max_batch_size) if reading.dynamic_batching else 1
    return pending if pending > instances * batch else 0


def _replicas_refused(picture: Picture) -> Iterator[Condition]:
    """More replicas are wanted still, and could not be set."""
    decisions = {d.server: d for d in picture.decisions}
    for outcome in picture.failed:
        action = outcome.action
        if action.step is not Step.SCALE or action.lowers or (decision := decisions.get(action.server)) is None:
            continue
        wanted, there = decision.target, decision.current
        if wanted is not None and there is not None and wanted.instances > there.instances:
            detail, cause = _with(outcome.detail, outcome.remedy), "failed"
            yield Condition(
                AlertName.CAPACITY_REFUSED, action.model, workload=action.server, cause=cause, detail=detail
            )


def _unscheduled(picture: Picture) -> Iterator[Condition]:
    """Replicas that no node takes."""
    for workload, scaling in picture.fleet.scaling.items():
        for model in picture.fleet.models if scaling.unscheduled else ():
            if workload in model.workloads:
                says = "; ".join(sorted({pod.why for pod in scaling.unscheduled}))
                detail = f"no node takes {len(scaling.unscheduled)} replicas: {says}"
                lacks = AlertName.CAPACITY_REFUSED
                yield Condition(lacks, model.name, workload=workload, cause="unscheduled", detail=detail)


def _slow_startups(picture: Picture) -> Iterator[Condition]:
    """What loads or starts for longer than nine of ten did that were seen before."""
    at, slow = picture.at, AlertName.STARTUP_SLOW
    for action in picture.in_flight:
        if action.step in _LOADS and not action.waits:
            times = picture.startups.get(action.model, {}).get((workload_of(action.server), action.step.value))
            if detail := _slowness(at - action.issued_at, times):
                yield Condition(slow, action.model, server=action.server, kind=action.step.value, detail=detail)
    starting = [m for m in picture.fleet.members.values() if m.phase is Phase.STARTING and m.created_at is not None]
    for member in sorted(starting, key=attrgetter("created_at")):
        for model in picture.fleet.models:
            if member.workload in model.workloads:
                times = picture.startups.get(model.name, {}).get((member.workload, REPLICA))
                if detail := _slowness(at - (member.created_at or at), times):
                    told = f"{member.server.name}: {detail}"
                    yield Condition(slow, model.name, workload=member.workload, kind=REPLICA, detail=told)


def _slowness(taken_s: float, times: StartupTimes | None) -> str:
    if times is None or times.seen < _STARTUPS_SEEN:
        return ""
    if taken_s <= _SLOWER * times.p90_s or taken_s <= times.p90_s + _SLOWER_S:
        return ""
    return f"under way for {taken_s:.0f} s; nine of ten take {times.p90_s:.0f} s at most"


def _gpus(picture: Picture) -> Iterator[Condition]:
    for gpu in known(picture.reading.gpus) or ():
        here = Condition(AlertName.GPU_XID, node=gpu.node, gpu=gpu_label(gpu))
        xid, errors = known(gpu.last_xid), known(gpu.ecc_uncorrected)
        if xid and xid not in APPLICATION_XIDS:
            yield replace(here, cause=str(xid), detail=f"XID {xid}")
        if errors:
            yield replace(here, alert=AlertName.GPU_ECC, detail=f"{errors} since the driver was loaded")
        if gpu.waits_for_reset:
            mode = "on" if known(gpu.mig_pending) else "off"
            yield replace(here, alert=AlertName.MIG_RESET_PENDING, detail=f"MIG is {mode} from its next reset on")
        reasons = known(gpu.throttle_reasons) or ()
        for reason in HARMFUL_THROTTLES:
            if reason in reasons:
                yield replace(here, alert=AlertName.GPU_THROTTLED, cause=reason)


def _endings(picture: Picture) -> Iterator[Condition]:
    """Overrides and freezes of people that end soon; those made for no longer than that are not worth telling.

    A freeze by a rule lasts as its alert does: its end is moved on all the time.
    """
    ends: dict[tuple[str, str, str, str], tuple[float, float]] = {}
    told = [((o.model, o.workload, o.server, o.kind.value), o.expires_at, o.created_at) for o in picture.overrides]
    by_people = [f for f in picture.freezes if f.actor != FREEZES_AS]
    told += [((f.model, f.workload, "", "freeze"), f.expires_at, f.created_at) for f in by_people]
    for key, expires_at, created_at in told:
        # Another of the kind that lasts longer takes over.
        ends[key] = max(ends.get(key, (0.0, 0.0)), (expires_at, created_at))
    for (model, workload, server, kind), (expires_at, created_at) in ends.items():
        if 0.0 < expires_at - picture.at <= ENDING_S < expires_at - created_at:
            detail = f"ends in {(expires_at - picture.at) / 60:.0f} min"
            yield Condition(
                AlertName.OVERRIDE_ENDING, model, workload=workload, server=server, kind=kind, detail=detail
            )


def _with(detail: str, remedy: str) -> str:
    return f"{detail} [{remedy}]" if remedy else detail
