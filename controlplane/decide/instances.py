"""How many instances: the smallest count whose capacity holds the demand quantile inside the objective."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from controlplane.decide import forecast
from controlplane.decide.capacity import Capacity
from controlplane.decide.demand import Demand
from controlplane.decide.expected import Expected
from controlplane.decide.learning import busy_share
from controlplane.decide.policy import Policy
from controlplane.decide.unit import Unit
from controlplane.domain.decision import Reason, ReasonCode
from controlplane.domain.observation import Interval

# Fewer instances must hold this much more than the demand, so that a count at the edge does not swing.
_MARGIN = 1.10
# Below this busy share an unmeasured batching gain is no ground for more instances.
_BUSY_ENOUGH = 0.70
# A profile that makes up less of what is known is not told.
_PROFILE_TOLD = 0.01
# How many more instances a backlog may buy than demand alone needs: a share, at least one.
_BACKLOG_SHARE = 0.10


@dataclass(frozen=True, slots=True)
class Need:
    """Counts that would do: `up` holds the demand now, `down` also holds it after going there (never more than up's).

    `capacity_per_s` is what the present count can take inside the objective. `urgent`: requests wait already.
    """

    up: int
    down: int
    capacity_per_s: float
    reasons: tuple[Reason, ...]
    binding: ReasonCode
    urgent: bool = False


def need(
    unit: Unit,
    demand: Demand,
    capacity: Capacity,
    quantile: float,
    policy: Policy,
    count: int,
    expected: Expected = Expected(),  # noqa: B008 - a frozen value
) -> Need:
    """The need of a loaded unit that has `count` instances, before dwell, steps and bounds."""
    intervals = unit.reading.intervals if unit.reading is not None else ()
    highest = max(1, unit.spec.instances_max)
    wanted_per_s = forecast.quantile_per_s(
        demand.likely_high_per_s,
        demand.window_s,
        quantile,
        growth_per_s2=demand.growth_per_s2,
        horizon_s=policy.horizon_s,
    )
    own_per_s = capacity.per_s(count)
    seen = _seen(demand, capacity, quantile, wanted_per_s, own_per_s, count)
    up, binding, more = _up(unit, demand, capacity, policy, wanted_per_s, count)
    slow = _slow(intervals, capacity.threshold_s)
    if slow is not None and up <= count and demand.likely_high_per_s > 0.5 * own_per_s:
        up, binding, more = count + 1, slow.code, (*more, slow)
    for reason in expected.reasons:
        more = (*more, reason)
    if expected.per_s > wanted_per_s and (for_it := capacity.smallest(expected.per_s, highest)) > up:
        up, binding = for_it, expected.binding
    down = up
    if up < count:
        held_per_s = forecast.quantile_per_s(
            max(demand.likely_high_per_s, demand.level_high_per_s), demand.window_s, quantile
        )
        down = max(up, capacity.smallest(held_per_s * _MARGIN, highest))
        if demand.backlog > 0:
            # Who waits is served first: fewer instances would make them wait longer.
            down = max(down, count)
        if not math.isfinite(demand.high_per_s):
            # What may have come unseen may need what there is.
            down = max(down, count)
    return Need(up, down, own_per_s, (*seen, *more), binding, urgent=demand.backlog > 0)


def _seen(
    demand: Demand, capacity: Capacity, quantile: float, wanted_per_s: float, own_per_s: float, count: int
) -> tuple[Reason, Reason]:
    line, profile_share = capacity.curve.line(count), capacity.curve.profile_share
    return (
        demand.reason(
            wanted_per_s,
            quantile=quantile,
            growth_per_s2=demand.growth_per_s2,
            backlog_requests=float(demand.backlog),
        ),
        Reason(
            ReasonCode.CAPACITY,
            {
                "capacity_per_s": own_per_s,
                "instances": float(count),
                "fixed_ms": line.fixed_s * 1000,
                "per_item_ms": line.per_item_s * 1000,
            }
            | ({"profile_percent": 100 * profile_share} if profile_share >= _PROFILE_TOLD else {}),
        ),
    )


def _up(
    unit: Unit, demand: Demand, capacity: Capacity, policy: Policy, wanted_per_s: float, count: int
) -> tuple[int, ReasonCode, tuple[Reason, ...]]:
    """(count that holds the demand now, what binds, reasons beside demand and capacity)."""
    highest = max(1, unit.spec.instances_max)
    up = capacity.smallest(wanted_per_s, highest)
    busy = busy_share(unit.reading.intervals[-3:]) if unit.reading is not None else None
    guessing = not capacity.curve.certain and demand.backlog == 0 and (busy is None or busy < _BUSY_ENOUGH)
    if up > count and guessing:
        reason = Reason(ReasonCode.CAPACITY_UNKNOWN, {} if busy is None else {"busy_share": busy})
        return count, reason.code, (reason,)
    if demand.censored:
        # What is turned away is not seen: grow geometrically until nothing is turned away.
        reason = Reason(ReasonCode.BACKLOG, {}, {"why": "requests are turned away"})
        return max(up, count + max(1, count // 2)), reason.code, (reason,)
    more = _with_backlog(capacity, demand, wanted_per_s, up, highest, policy) if demand.backlog > 0 else up
    if more > up:
        numbers = {"backlog_requests": float(demand.backlog), "drain_s": policy.backlog_drain_s}
        return more, ReasonCode.BACKLOG, (Reason(ReasonCode.BACKLOG, numbers),)
    return up, ReasonCode.DEMAND, ()


def _with_backlog(
    capacity: Capacity, demand: Demand, wanted_per_s: float, up: int, highest: int, policy: Policy
) -> int:
    """The count that also serves the backlog within its drain time, at most a tenth or one more than `up`."""
    all_per_s = wanted_per_s + demand.backlog / policy.backlog_drain_s
    most = min(highest, up + max(1, math.ceil(_BACKLOG_SHARE * up)))
    return next((count for count in range(up, most) if capacity.limit_per_s(count) >= all_per_s), most)


def _slow(intervals: Sequence[Interval], threshold_s: float | None) -> Reason | None:
    """Whether the newest mean latency is over the objective and mostly waiting, which more instances mend.

    While the queue shrinks the present instances do mend it: who leaves it has waited for what there was before.
    """
    if not intervals or threshold_s is None:
        return None
    last = intervals[-1]
    before, waiting = last.pending_start, last.pending_end
    if last.completed == 0 or (before is not None and waiting is not None and waiting < before):
        return None
    mean_s, queue_s = last.request_s / last.completed, last.queue_s / last.completed
    if mean_s <= threshold_s or queue_s < 0.5 * mean_s:
        return None
    return Reason(ReasonCode.LATENCY_OVER_OBJECTIVE, {"mean_ms": mean_s * 1000, "objective_ms": threshold_s * 1000})
