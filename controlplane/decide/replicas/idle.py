"""Whether nobody uses a workload, and when a Triton, which does not tell what it executes, has ended that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from controlplane.decide.replicas.pool import Pool
from controlplane.domain.decision import Reason, ReasonCode
from controlplane.domain.fleet import ServerKind
from controlplane.domain.observation import ModelReading
from controlplane.domain.signal import Missing, known
from controlplane.domain.state import BatchSum, Service, WorkloadState

_QUIET_S, _QUIET_EXECUTIONS = 10.0, 10.0
"""A Triton does not tell what it executes: it has ended that once nothing came of it for so long, or as long as so many
executions take."""


def idle_reason(pool: Pool, state: WorkloadState, now: float) -> Reason | None:
    """Why it may be at its least: observed idle for as long as each model says, and each has a wake source."""
    limits = [model.idle_unload_s for model in pool.models]
    if pool.bounds.least > 0 or state.used_at is None or None in limits:
        return None
    if not all(model.wake.ensure for model in pool.models):
        return None
    used_at = max([state.used_at, *(w.at for w in pool.wants), *(m.ready_at or 0.0 for m in pool.serving)])
    idle_s, limit_s = now - used_at, max(limit for limit in limits if limit is not None)
    if idle_s < limit_s or not _is_empty(pool, state, idle_s):
        return None
    return Reason(ReasonCode.IDLE, {"idle_s": idle_s, "idle_unload_s": limit_s})


def quiet_s(services: Mapping[str, Service], model: str) -> float:
    """For how long nothing may come of a Triton's model before it is known to execute nothing."""
    batches: Sequence[BatchSum] = services[model].batches if model in services else ()
    longest_s = max((one.compute_s / one.executions for one in batches if one.executions > 0), default=0.0)
    return max(_QUIET_S, _QUIET_EXECUTIONS * longest_s)


def _is_empty(pool: Pool, state: WorkloadState, idle_s: float) -> bool:
    """Whether each server is seen to hold no request, where nothing came of any for so long."""
    members = len(pool.serving) + len(pool.draining)
    for model in pool.models:
        readings = pool.readings.get(model.name, {}).values()
        is_quiet = pool.spec.kind is ServerKind.TRITON and idle_s >= quiet_s(state.services, model.name)
        if len(readings) < members or not all(_holds_none(reading, is_quiet) for reading in readings):
            return False
    return True


def _holds_none(reading: ModelReading, is_quiet: bool) -> bool:
    """Missing is no zero: where it is not told what executes, that has to show by what came of it."""
    executes_none = is_quiet if isinstance(reading.running, Missing) else known(reading.running) == 0
    return known(reading.pending) == 0 and executes_none
