"""Times in which demand was near capacity, by the decisions of the ticks before."""

from __future__ import annotations

import pytest

from controlplane.domain.decision import Decision, Reason, ReasonCode, Target
from controlplane.loop.strain import Strain, near_capacity
from tests.unit.loop.worlds import NOW, a_decision


def seen(
    low_per_s: float, high_per_s: float | None = None, *, capacity_per_s: float = 100.0, present: int = 2, of: int = 2
) -> Decision:
    numbers = {"low_per_s": low_per_s} | ({} if high_per_s is None else {"high_per_s": high_per_s})
    capacity = Reason(ReasonCode.CAPACITY, {"capacity_per_s": capacity_per_s, "instances": float(of)})
    reasons = (Reason(ReasonCode.DEMAND, numbers), capacity)
    return a_decision(reasons=reasons, current=Target(loaded=True, instances=present))


@pytest.mark.parametrize(
    ("decision", "expected"),
    [
        (seen(90.0), True),
        (seen(89.0), False),
        (seen(80.0, 130.0), False),
        (seen(200.0, capacity_per_s=0.0), False),
        (seen(90.0, present=1), True),
        (seen(90.0, present=3), False),
        (a_decision(), False),
    ],
)
def test_demand_is_near_capacity_from_nine_tenths_of_what_the_present_instances_hold(
    decision: Decision, expected: bool
) -> None:
    assert near_capacity(decision) is expected


def test_a_span_reaches_from_when_demand_was_counted_to_the_decision_that_sees_less() -> None:
    strain = Strain()
    strain.note([seen(95.0)], NOW)
    assert strain.spans["a"] == ((NOW - 10.0, NOW + 60.0),), "nothing newer is known"
    strain.note([seen(96.0)], NOW + 15.0)
    strain.note([seen(10.0)], NOW + 30.0)
    assert strain.spans["a"] == ((NOW - 10.0, NOW + 30.0),)
    strain.note([seen(95.0)], NOW + 300.0)
    assert list(strain.spans["a"]) == [(NOW - 10.0, NOW + 30.0), (NOW + 290.0, NOW + 360.0)]


def test_old_spans_are_let_go_of() -> None:
    strain = Strain()
    strain.note([seen(95.0)], NOW)
    strain.note([], NOW + 15.0)
    strain.note([], NOW + 4000.0)
    assert dict(strain.spans) == {}


@pytest.mark.parametrize(("demand", "serving", "expected"), [(2.7, 3, True), (2.69, 3, False), (0.1, 0, True)])
def test_of_replicas_demand_is_near_what_those_that_serve_hold_whatever_is_starting(
    demand: float, serving: int, expected: bool
) -> None:
    told = Reason(ReasonCode.REPLICA_DEMAND, {"demand_replicas": demand, "serving_replicas": float(serving)})
    assert near_capacity(a_decision(reasons=(told,), current=Target(loaded=True, instances=9))) is expected
