"""What the history of objectives teaches of arrivals."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from controlplane.decide.forecast import State
from controlplane.domain.fleet import Fleet, ModelSpec
from controlplane.domain.objectives import Counts, Indicator, IndicatorSource, Objective
from controlplane.domain.ports import Store
from controlplane.loop.seasons import recalled
from controlplane.loop.store_thread import StoreThread
from tests.unit.decide.replicas import MODEL, NOW, SPEC

FIRST = NOW // 60 * 60 - 600.0
FLEET = Fleet((), (MODEL,), workloads=(SPEC,))


def recall(fleet: Fleet, store: object) -> dict[str, State]:
    """What history taught, by workload."""

    async def run() -> dict[str, State]:
        thread = StoreThread(cast("Store", store))
        try:
            return {workload: state async for workload, state in recalled(fleet, thread, NOW)}
        finally:
            thread.close()

    return asyncio.run(run())


def learned(fleet: Fleet, rows: dict[str, list[tuple[float, Counts]]]) -> State:
    asked: list[str] = []

    def slices(model: str, objective: str, since: float, until: float, step_s: float) -> list[tuple[float, Counts]]:
        assert until - since == pytest.approx(3 * 86_400.0)
        assert step_s == 60.0
        asked.append(objective)
        return rows[model]

    (state,) = recall(fleet, SimpleNamespace(slices=slices, close=lambda: None)).values()
    assert len(asked) == len(rows)
    return state


def minutes(events: int, count: int = 5, measured_s: float = 60.0) -> list[tuple[float, Counts]]:
    return [(FIRST + 60.0 * n, Counts(events, 0, 0, measured_s, 60.0)) for n in range(count)]


def test_only_workloads_that_are_scaled_and_whose_requests_are_counted_are_asked_for() -> None:
    nothing = SimpleNamespace(slices=lambda *_: [], close=lambda: None)
    assert set(recall(FLEET, nothing)) == {"fleet"}
    assert recall(replace(FLEET, workloads=(replace(SPEC, replicas=None),)), nothing) == {}
    share = Objective(Indicator.QUEUE_TIME, 0.99, 28 * 86_400.0, IndicatorSource.SERVER, 1.0)
    assert recall(replace(FLEET, models=(replace(MODEL, objectives=(share,)),)), nothing) == {}


@pytest.mark.parametrize("elsewhere", [{"workloads": ("fleet", "other")}, {"runs_on": ("vllm-0", "fleet/a")}])
def test_a_model_that_is_served_elsewhere_too_teaches_no_season(elsewhere: dict[str, tuple[str, ...]]) -> None:
    """Its history has the requests of all places together."""
    nothing = SimpleNamespace(slices=lambda *_: [], close=lambda: None)
    shared = replace(MODEL, **elsewhere)  # type: ignore[arg-type]
    assert recall(replace(FLEET, models=(shared,)), nothing) == {}
    assert set(recall(replace(FLEET, models=(replace(MODEL, runs_on=("fleet/a",)),)), nothing)) == {"fleet"}


def test_a_minute_counts_from_when_it_is_over_and_if_it_was_measured_for_half_of_it() -> None:
    assert learned(FLEET, {"llm": minutes(120)}).seen_s == FIRST + 5 * 60.0
    assert learned(FLEET, {"llm": minutes(120, measured_s=29.0)}).seen_s is None


def test_models_of_a_workload_count_together_in_minutes_in_which_all_were_measured() -> None:
    other: ModelSpec = replace(MODEL, name="other")
    both = replace(FLEET, models=(MODEL, other))
    found = learned(both, {"llm": minutes(120), "other": minutes(60, 3)})
    assert found.seen_s == FIRST + 3 * 60.0
    assert found == learned(FLEET, {"llm": minutes(180, 3)})
