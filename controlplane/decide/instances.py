"""How many instances: the smallest count whose capacity holds the demand quantile inside the objective."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from controlplane.decide import forecast
from controlplane.decide.demand import Demand
from controlplane.decide.learning import Curve, busy_share, items_per_request
from controlplane.decide.policy import Policy
from controlplane.decide.queueing import capacity_per_s
from controlplane.decide.unit import Unit
from controlplane.domain.decision import Reason, ReasonCode
from controlplane.domain.observation import Interval

# Fewer instances must hold this much more than the demand, so that a count at the edge does not swing.
_MARGIN = 1.10
# Below this busy share an unmeasured batching gain is no ground for more instances.
_BUSY_ENOUGH = 0.70
# How many more instances a backlog may buy than demand alone needs: a share, at least one.
_BACKLOG_SHARE = 0.10


@dataclass(frozen=True, slots=True)
class Need:
    """Counts that would do: `up` holds the demand now, `down` also holds it after going there (never more than up's).

    `capacity_per_s` is what the present count can take inside the objective.
    """

    up: int
    down: int
    capacity_per_s: float
    reasons: tuple[Reason, ...]
    binding: ReasonCode


def need(
    unit: Unit,
    demand: Demand,
    curve: Curve,
    intervals: Sequence[Interval],
    quantile: float,
    policy: Policy,
    now_count: int,
) -> Need:
    """The need of a loaded unit that has `now_count` instances, before dwell, steps and bounds."""
    threshold_s, share = unit.latency_goal
    items = items_per_request(intervals)
    highest = max(1, unit.spec.instances_max)

    def capacity(count: int) -> float:
        return _capacity(curve, count, threshold_s, share or 0.99) / items

    wanted_per_s = forecast.quantile_per_s(demand.high_per_s, demand.window_s, quantile)
    own = capacity(now_count)
    reasons = [
        Reason(
            ReasonCode.DEMAND,
            {
                "demand_per_s": wanted_per_s,
                "low_per_s": demand.low_per_s,
                "high_per_s": demand.high_per_s,
                "quantile": quantile,
                "backlog_requests": float(demand.backlog),
            },
        ),
        Reason(
            ReasonCode.CAPACITY,
            {
                "capacity_per_s": own,
                "instances": float(now_count),
                "fixed_ms": curve.line(now_count).fixed_s * 1000,
                "per_item_ms": curve.line(now_count).per_item_s * 1000,
            },
        ),
    ]
    up, binding = _smallest(capacity, wanted_per_s, highest), ReasonCode.DEMAND
    busy = busy_share(intervals[-3:])
    guessing = not curve.certain and demand.backlog == 0 and (busy is None or busy < _BUSY_ENOUGH)
    if up > now_count and guessing:
        reasons.append(Reason(ReasonCode.CAPACITY_UNKNOWN, {} if busy is None else {"busy_share": busy}))
        up, binding = now_count, ReasonCode.CAPACITY_UNKNOWN
    if demand.backlog > 0:
        more = _with_backlog(curve, demand, wanted_per_s * items, items, up, highest, policy)
        if more > up:
            reasons.append(
                Reason(
                    ReasonCode.BACKLOG, {"backlog_requests": float(demand.backlog), "drain_s": policy.backlog_drain_s}
                )
            )
            up, binding = more, ReasonCode.BACKLOG
    if demand.censored:
        # What is turned away is not seen: grow geometrically until nothing is turned away.
        up, binding = max(up, now_count + max(1, now_count // 2)), ReasonCode.BACKLOG
    slow = _slow(intervals, threshold_s)
    if slow is not None and up <= now_count and demand.high_per_s > 0.5 * own:
        reasons.append(slow)
        up, binding = now_count + 1, ReasonCode.LATENCY_OVER_OBJECTIVE
    held_per_s = forecast.quantile_per_s(max(demand.high_per_s, demand.level_high_per_s), demand.window_s, quantile)
    down = max(up, _smallest(capacity, held_per_s * _MARGIN, highest)) if up < now_count else up
    if demand.backlog > 0:
        # Who waits is served first: fewer instances would make them wait longer.
        down = max(down, now_count)
    return Need(up, down, own, tuple(reasons), binding)


def _capacity(curve: Curve, count: int, threshold_s: float | None, share: float) -> float:
    """Items per second of `count` instances inside the objective; without regard to it where none could meet it."""
    line = curve.line(count)
    capacity = capacity_per_s(line, count, threshold_s, share)
    return capacity if capacity > 0 else capacity_per_s(line, count, None, share)


def _smallest(capacity: Callable[[int], float], wanted_per_s: float, highest: int) -> int:
    """The smallest count that can take it; where none can, the smallest of those that take the most (within 2 %)."""
    best, best_per_s = 1, 0.0
    for count in range(1, highest + 1):
        per_s = capacity(count)
        if per_s >= wanted_per_s:
            return count
        if per_s > 1.02 * best_per_s:
            best, best_per_s = count, per_s
    return best


def _with_backlog(
    curve: Curve, demand: Demand, wanted_items_per_s: float, items: float, up: int, highest: int, policy: Policy
) -> int:
    """The count that also serves the backlog within its drain time, at most a tenth or one more than `up`."""
    extra_per_s = demand.backlog * items / policy.backlog_drain_s
    for count in range(up, highest + 1):
        if curve.line(count).limit_per_s(count) >= wanted_items_per_s + extra_per_s:
            return min(count, up + max(1, math.ceil(_BACKLOG_SHARE * up)))
    return min(highest, up + max(1, math.ceil(_BACKLOG_SHARE * up)))


def _slow(intervals: Sequence[Interval], threshold_s: float | None) -> Reason | None:
    """Whether the newest mean latency is over the objective and mostly waiting, which more instances mend.

    While the queue shrinks the present instances do mend it: who leaves it has waited for what there was before.
    """
    if not intervals or threshold_s is None:
        return None
    last = intervals[-1]
    if last.completed == 0 or last.pending_end < last.pending_start:
        return None
    mean_s, queue_s = last.request_s / last.completed, last.queue_s / last.completed
    if mean_s <= threshold_s or queue_s < 0.5 * mean_s:
        return None
    return Reason(ReasonCode.LATENCY_OVER_OBJECTIVE, {"mean_ms": mean_s * 1000, "objective_ms": threshold_s * 1000})
