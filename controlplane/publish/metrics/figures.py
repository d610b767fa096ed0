"""Figures that a decision rested on, as signals: what it did not know is missing, not zero."""

from __future__ import annotations

from typing import TypeVar

from controlplane.decide.explain import headline
from controlplane.domain.decision import Decision, ReasonCode
from controlplane.domain.signal import Known, Missing, Signal, Stale

T = TypeVar("T")


def demand(decision: Decision | None, now: float, max_age_s: float) -> Signal[float]:
    """Arrivals per second that the decision expected."""
    return _figure(decision, ReasonCode.DEMAND, "demand_per_s", now, max_age_s)


def capacity(decision: Decision | None, now: float, max_age_s: float) -> Signal[float]:
    """Arrivals per second that what is loaded serves inside its objectives."""
    return _figure(decision, ReasonCode.CAPACITY, "capacity_per_s", now, max_age_s)


def desired_instances(decision: Decision | None, now: float, max_age_s: float) -> Signal[int]:
    """Instances that should be on the server, 0 when the model should not be loaded."""
    if decision is None:
        return Missing("nothing was decided yet")
    if decision.target is None:
        return Missing(f"no target was decided: {_bound(decision)}")
    return _aged(decision.target.instances, decision.at, now, max_age_s)


def _figure(decision: Decision | None, code: ReasonCode, number: str, now: float, max_age_s: float) -> Signal[float]:
    if decision is None:
        return Missing("nothing was decided yet")
    for reason in decision.reasons:
        if reason.code is code and number in reason.numbers:
            return _aged(reason.numbers[number], decision.at, now, max_age_s)
    return Missing(f"not part of the last decision: {_bound(decision)}")


def _bound(decision: Decision) -> str:
    """What settled the decision, in words."""
    return headline(decision).partition(": ")[2]


def _aged(value: T, at: float, now: float, max_age_s: float) -> Signal[T]:
    if now - at > max_age_s:
        return Stale(value, at, now - at, "no tick since")
    return Known(value, at)
