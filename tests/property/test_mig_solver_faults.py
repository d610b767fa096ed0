"""Plans where the solver fails: it is asked once more in another way, and what is told of the plan holds then too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import OptimizeResult, linprog, milp

from controlplane.config.mig.boards import boards
from controlplane.decide.mig import Gpu, MigModel, MigQuestion, Slice, plan, program
from controlplane.decide.mig.proposal import MigAsk, propose
from tests.property.test_mig_plan import best, occupied, price_of, small

H100 = boards()["h100-80gb"]
SAID = "(HiGHS Status 4: model_status is Solve error; primal_status is None)"
Solver = Callable[..., OptimizeResult]
_NEAR = 1e-3
"""As near as the solver looks, at demands of up to 42/s."""


@contextmanager
def failing(fails: Callable[[], bool], *, also_without_presolve: bool) -> Iterator[list[str]]:
    """HiGHS, but for the questions at which it `fails`, in a row for the same one. Gives those at which it did."""
    failed: list[str] = []

    def instead(solver: Solver) -> Solver:
        def solve(*args: Any, **kwargs: Any) -> OptimizeResult:
            again = kwargs["options"].get("presolve") is False
            if (again and also_without_presolve) or (not again and fails()):
                failed.append(solver.__name__)
                return OptimizeResult(status=4, message=SAID, x=None, success=False)
            return solver(*args, **kwargs)

        return solve

    with (
        patch.object(program, "milp", instead(milp)),
        patch.object(program, "linprog", instead(linprog)),
    ):
        yield failed


def close_to(value: float | dict[str, float]) -> Any:
    return pytest.approx(value, abs=_NEAR)


@settings(max_examples=10, deadline=None)
@given(small())
def test_where_it_fails_it_is_asked_once_more_and_nothing_is_lost(question: MigQuestion) -> None:
    wanted = plan(question)
    with failing(lambda: True, also_without_presolve=False):
        planned = plan(question)
    assert {g.name: g.value for g in planned.goals} == close_to({g.name: g.value for g in wanted.goals})
    assert (planned.optimal, planned.faults) == (wanted.optimal, ())


@settings(max_examples=25, deadline=None)
@given(small(), st.lists(st.booleans(), min_size=1, max_size=12))
def test_no_more_is_told_of_a_plan_than_holds_whatever_it_fails_at(question: MigQuestion, fails: list[bool]) -> None:
    turns = iter(fails)
    with failing(lambda: next(turns, False), also_without_presolve=True) as failed:
        planned = plan(question)
    assert bool(planned.faults) == bool(failed)
    goals = {goal.name: goal for goal in planned.goals}
    unserved, price, *_ = best(question)
    tells, cost = goals["unserved"], planned.cost
    assert sum(u.short for u in planned.unserved) == close_to(tells.value)
    assert price_of(question, planned) == close_to(cost.value)
    assert tells.bound <= unserved + _NEAR <= tells.value + 2 * _NEAR
    if tells.value == close_to(unserved):
        assert cost.bound <= price + _NEAR <= cost.value + 2 * _NEAR
    if planned.optimal:
        assert (tells.value, cost.value) == (close_to(unserved), close_to(price))


@settings(max_examples=10, deadline=None)
@given(occupied())
def test_where_nothing_is_found_at_all_what_is_there_stays_and_that_is_told(question: MigQuestion) -> None:
    with failing(lambda: True, also_without_presolve=True) as failed:
        planned, told = plan(question), propose(MigAsk(question, 3600.0))
    if not failed:
        return  # no slice serves any model, which needs no solver
    assert planned.layouts == {gpu.uuid: gpu.layout for gpu in question.gpus}
    assert (planned.steps, told.steps, told.pays) == ((), (), False)
    assert planned.faults == (SAID,)
    assert (planned.cost.bound, planned.optimal) == (
        0.0,
        planned.cost.value == sum(u.short for u in planned.unserved) == 0,
    )
    assert told.reasons[:2] == (f"the solver failed, so a better plan may be missed: {SAID}", "what is there stays")


def test_demand_that_cannot_all_be_served_is_no_reason_to_give_up_what_serves_some_of_it() -> None:
    piece = Slice("3g.40gb", 4)
    gpus = (Gpu("GPU-a", H100, (piece,), 1.0, {piece: ("small",)}),)
    question = MigQuestion(gpus, (MigModel("small", 100.0, {"3g.40gb": 10.0}, 6.0),))
    with failing(lambda: True, also_without_presolve=True):
        told = propose(MigAsk(question, 3600.0))
    assert (told.steps, told.pays, told.short_then_per_s) == ((), False, {"small": 90.0})
