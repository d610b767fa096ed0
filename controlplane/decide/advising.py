"""When advice on batching is told: of whole minutes under one configuration, and not taken back at the first doubt."""

from __future__ import annotations

from dataclasses import replace

from controlplane.decide.batching import LENIENT, BatchingAdvice, advise, possible, work
from controlplane.decide.demand import started_since
from controlplane.decide.unit import Unit
from controlplane.domain.batching import BatchingCase, BatchingKnobs, BatchingMemory
from controlplane.domain.decision import Reason, ReasonCode
from controlplane.domain.state import UnitState

# A change of the batching is a reload that a person makes: what a minute of load showed is no ground for one.
WINDOW_S = 300.0
"""Advice rests on so long at most."""
# Of readings a minute apart four fit into the window at most.
_COVERED_MIN = 0.7

_WHY = {
    BatchingCase.UNBATCHED: "each request runs alone, and the instances are {busy} busy",
    BatchingCase.BATCH_LIMIT: "most batches are as large as they may be, and requests wait longer than they run",
    BatchingCase.PREFERRED_UNREACHED: "no batch was as large as a preferred one, so that each waited in vain",
    BatchingCase.DELAY_TOO_LONG: "requests wait for others that do not come, before instances that are {busy} busy",
}


def advised(unit: Unit, state: UnitState, now: float) -> tuple[BatchingAdvice | None, UnitState]:
    """What is to be changed about a loaded unit's batching, and the state that remembers it.

    It rests on the last five minutes, at most since the configuration was first seen as it is, of which the unit must
    have worked most. What was told is told on while it holds by less strict marks.
    """
    reading, instances = unit.reading, unit.present.instances if unit.present is not None else 0
    if reading is None or instances < 1 or reading.other_scheduler:
        return None, replace(state, batching=None)
    knobs = reading.batching
    memory = state.batching
    if memory is None or memory.knobs != knobs:
        return None, replace(state, batching=BatchingMemory(knobs, now))
    intervals = reading.intervals
    if not intervals or (memory.told is None and not possible(knobs, intervals[-1])):
        return None, state
    worked = work(started_since(intervals, max(memory.since, now - WINDOW_S)))
    covered_min_s = _COVERED_MIN * WINDOW_S * (1.0 if memory.told is None else LENIENT)
    advice = None
    if worked is not None and worked.covered_s >= covered_min_s:
        advice = advise(worked, knobs, state.batches, instances, unit.latency_objective, memory.told)
    told = advice.case if advice is not None else None
    if told is memory.told:
        return advice, state
    return advice, replace(state, batching=replace(memory, told=told, told_since=now))


def reason(advice: BatchingAdvice) -> Reason:
    """The advice as one of the reasons of a decision."""
    numbers = {
        "executions": float(advice.worked.executions),
        "busy_share": advice.worked.busy,
        "max_batch_size": float(advice.then.max_batch_size),
        "max_queue_delay_us": advice.then.max_queue_delay_s * 1e6,
    }
    if advice.gain is not None:
        numbers |= {
            "capacity_before_per_s": advice.gain.capacity_before_per_s,
            "capacity_after_per_s": advice.gain.capacity_after_per_s,
            "latency_before_ms": advice.gain.latency_before_s * 1000,
        }
        if advice.gain.latency_after_s is not None:
            numbers["latency_after_ms"] = advice.gain.latency_after_s * 1000
    why = _WHY[advice.case].format(busy=f"{advice.worked.busy:.0%}")
    return Reason(ReasonCode.BATCHING, numbers, {"case": advice.case.value, "change": _change(advice), "why": why})


def _change(advice: BatchingAdvice) -> str:
    now, then = advice.now, advice.then
    match advice.case:
        case BatchingCase.UNBATCHED:
            return f"turn on dynamic_batching, without a queue delay (max_batch_size is {then.max_batch_size})"
        case BatchingCase.BATCH_LIMIT:
            return f"raise max_batch_size from {now.max_batch_size} to {then.max_batch_size}"
        case BatchingCase.PREFERRED_UNREACHED:
            sizes = ", ".join(map(str, now.preferred_sizes))
            return f"take out preferred_batch_size ({sizes}) and max_queue_delay_microseconds ({_us(now)})"
        case BatchingCase.DELAY_TOO_LONG:
            return f"take out max_queue_delay_microseconds ({_us(now)})"


def _us(knobs: BatchingKnobs) -> str:
    return f"{knobs.max_queue_delay_s * 1e6:.0f}"
