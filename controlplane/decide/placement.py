"""Should the model be loaded here? Wanted, idle, or neither known."""

from __future__ import annotations

import math
from dataclasses import replace

from controlplane.decide.unit import Unit
from controlplane.domain.decision import Reason, ReasonCode
from controlplane.domain.fleet import Mode
from controlplane.domain.observation import Interval
from controlplane.domain.state import UnitState

# Readings a little apart still join: scrapes are cut at their own moments.
_GAP_S = 1.0


def first_sight(unit: Unit, state: UnitState) -> UnitState:
    """The state of a unit that was never decided on: what is loaded stays, what must be loaded is wanted.

    A model that may be unloaded for idleness and is not loaded waits for its wake source, one that is placed for that.
    """
    if state.wanted is not None or unit.present is None:
        return state
    sleeps = unit.spec.idle_unload_s is not None or unit.spec.instances_min == 0 or unit.placed is not None
    return replace(state, wanted=unit.present.loaded or not sleeps)


def note_use(unit: Unit, state: UnitState, fresh: tuple[Interval, ...], now: float) -> UnitState:
    """The state with the time at which the model was last not provably idle.

    Idle is only what was observed: requests of others, waiting and executing requests, a queue that is not observed,
    every second without a reading and being loaded by somebody else count as use. A want counts when it is newer; of a
    unit never seen before, when it is not older than the idle time.
    """
    used_at, until = state.used_at, state.learned_until
    loaded = unit.present is not None and unit.present.loaded
    by_others = loaded and state.wanted is False and unit.spec.mode is Mode.ACT
    if used_at is None or by_others:
        used_at = now
    for interval in fresh:
        if interval.start > until + _GAP_S:
            used_at = max(used_at, interval.start)
        if _in_use(interval):
            used_at = max(used_at, interval.end)
        until = max(until, interval.end)
    if unit.present is not None and not loaded:
        until = now
    asked_at = unit.want.at if unit.want is not None else -math.inf
    if asked_at > (used_at if state.used_at is not None else now - (unit.spec.idle_unload_s or math.inf)):
        return replace(state, used_at=asked_at, learned_until=until, wanted=True)
    return replace(state, used_at=used_at, learned_until=until)


def _in_use(interval: Interval) -> bool:
    """Whether it is not seen that nobody asked for the model. Of what executes our own probes may be a part."""
    if interval.pending_start is None or interval.pending_end is None:
        return True
    executing = max(
        (interval.running_start or 0) - interval.probes_start, (interval.running_end or 0) - interval.probes_end
    )
    waiting = interval.pending_start + interval.pending_end
    return interval.completed > interval.probes or waiting > 0 or executing > 0


def idle_reason(unit: Unit, state: UnitState) -> Reason | None:
    """Why the model may be unloaded: observed idle for long enough, and something would tell when it is wanted."""
    limit_s = unit.spec.idle_unload_s
    if limit_s is None or not unit.spec.wake.ensure or state.used_at is None:
        return None
    idle_s = state.learned_until - state.used_at
    if idle_s < limit_s:
        return None
    return Reason(ReasonCode.IDLE, {"idle_s": idle_s, "idle_unload_s": limit_s})
