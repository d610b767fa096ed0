"""Demand of a model over the servers of its slices, for which layouts are planned."""

from __future__ import annotations

import pytest

from controlplane.decide.mig.asked import demand_of
from controlplane.domain.fleet import Mode, ModelSpec
from controlplane.domain.observation import FleetReading, Interval, ModelReading, ModelState, ServerReading
from controlplane.domain.signal import Known, Missing

NOW = 1000.0
STEP_S = 5.0
MODEL = ModelSpec("m", "m", ("old", "new"), Mode.OBSERVE)


def counted(per_s: dict[float, float]) -> tuple[Interval, ...]:
    """Readings by their start before now, in seconds, oldest first."""
    return tuple(
        Interval(
            NOW - back,
            NOW - back + STEP_S,
            round(STEP_S * rate),
            0,
            0,
            0,
            0,
            1.0,
            0.0,
            0,
            0,
            0,
            1,
            running_start=0,
            running_end=0,
        )
        for back, rate in sorted(per_s.items(), reverse=True)
    )


def reading(**servers: tuple[Interval, ...] | ModelState) -> FleetReading:
    told = {}
    for name, seen in servers.items():
        state = seen if isinstance(seen, ModelState) else ModelState.READY
        intervals = () if isinstance(seen, ModelState) else seen
        model = Known(ModelReading(state, pending=Known(0, NOW), intervals=intervals), NOW)
        told[name] = ServerReading(name, Known(value=True, observed_at=NOW), Missing("no"), 0, {"m": model})
    return FleetReading(NOW, told, {}, {}, Missing("no"))


OLD = counted({back: 15.0 if back <= 15 else 30.0 for back in range(5, 65, 5)})


def test_what_one_server_served_before_another_came_counts_once() -> None:
    told = demand_of(MODEL, reading(old=OLD, new=counted({15.0: 15.0, 10.0: 15.0, 5.0: 15.0})), NOW, 60.0)
    assert isinstance(told, Known)
    assert told.value == pytest.approx(30.0)


def test_a_server_that_was_just_begun_with_makes_it_unknown_for_a_moment() -> None:
    told = demand_of(MODEL, reading(old=OLD, new=counted({5.0: 15.0})), NOW, 60.0)
    assert told == Missing("new was not read for 10 s yet")
    told = demand_of(MODEL, reading(old=OLD, new=()), NOW, 60.0)
    assert told == Missing("new was not read for 10 s yet")


def test_a_server_without_the_model_counts_for_nothing() -> None:
    told = demand_of(MODEL, reading(old=counted({10.0: 20.0, 5.0: 20.0}), new=ModelState.UNLOADED), NOW, 60.0)
    assert isinstance(told, Known)
    assert told.value == pytest.approx(20.0)
    none = demand_of(MODEL, reading(old=ModelState.UNLOADED, new=ModelState.ABSENT), NOW, 60.0)
    assert none == Known(0.0, NOW)


def test_a_server_that_does_not_answer_makes_it_unknown() -> None:
    told = demand_of(MODEL, reading(old=OLD), NOW, 60.0)
    assert told == Missing("new does not answer")
