"""A step is tried again where that may help at once, and never for longer than it may take."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from controlplane.act.retrying import RetryingActuator
from controlplane.domain import names
from controlplane.domain.decision import TIMEOUT_S, Action, ActionStatus, Outcome, Step, Target
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import Fleet
from controlplane.domain.observation import ControlMode

ACTION = Action("d-1", "m", "t0", Step.LOAD, Target(loaded=True, instances=1), 1.0)
AWAY = FailureClass.UNREACHABLE


class Answers:
    """An actuator that fails with these classes, one after the other, and then succeeds."""

    def __init__(self, failures: Sequence[FailureClass], takes_s: float = 0.0) -> None:
        self.failures = list(failures)
        self.tries = 0
        self.takes_s = takes_s

    async def control_mode(self, server: str) -> ControlMode:
        raise NotImplementedError(server)

    async def apply(self, action: Action) -> Outcome:
        self.tries += 1
        await asyncio.sleep(self.takes_s)
        if not self.failures:
            return Outcome(action, ActionStatus.SUCCEEDED, 2.0, "done")
        return Outcome(action, ActionStatus.FAILED, 2.0, "no", self.failures.pop(0), "the remedy")

    def follow(self, fleet: Fleet) -> None:
        raise NotImplementedError(fleet)

    async def close(self) -> None: ...


def tried(
    inner: Answers, chance: float = 0.0, retries: int = 2, may_act: Callable[[], bool] = lambda: True
) -> tuple[Outcome, list[float], float | None]:
    """The outcome, the waits between tries, and how many were counted."""
    waits: list[float] = []
    registry = CollectorRegistry()

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    actuator = RetryingActuator(
        inner,
        registry,
        clock=lambda: 9.0,
        retries=retries,
        wait_s=2.0,
        sleep=sleep,
        chance=lambda: chance,
        may_act=may_act,
    )
    outcome = asyncio.run(actuator.apply(ACTION))
    return outcome, waits, registry.get_sample_value(f"{names.ACTION_RETRIES}_total", {"step": "load"})


def test_who_was_not_found_is_asked_again_and_the_outcome_says_how_often() -> None:
    outcome, waits, counted = tried(Answers([AWAY, AWAY]))
    assert (outcome.status, outcome.detail, waits, counted) == (ActionStatus.SUCCEEDED, "done (try 3)", [2.0, 4.0], 2)
    assert outcome.waited_s == 6.0


def test_who_is_never_found_is_asked_a_few_times_only() -> None:
    inner = Answers([AWAY] * 9)
    outcome, _, counted = tried(inner)
    assert (outcome.status, outcome.failure, inner.tries, counted) == (ActionStatus.FAILED, AWAY, 3, 2)
    once = Answers([AWAY] * 9)
    assert (tried(once, retries=0)[0].failure, once.tries) == (AWAY, 1)


def test_who_may_no_longer_act_tries_nothing_again() -> None:
    inner, may = Answers([AWAY] * 9), iter([True, False])
    outcome, waits, counted = tried(inner, may_act=lambda: next(may))
    assert (outcome.failure, inner.tries, waits, counted) == (AWAY, 2, [2.0, 4.0], 1)


@pytest.mark.parametrize("failure", [failure for failure in FailureClass if failure is not AWAY])
def test_what_a_server_refuses_is_not_tried_again_at_once(failure: FailureClass) -> None:
    inner = Answers([failure])
    outcome, waits, counted = tried(inner)
    assert (outcome.failure, outcome.detail, inner.tries, waits, counted) == (failure, "no", 1, [], 0)


@given(st.floats(0.0, 1.0, exclude_max=True))
def test_the_waits_are_spread_over_the_second_half_of_their_time(chance: float) -> None:
    _, (first, second), _ = tried(Answers([AWAY, AWAY]), chance)
    assert 1.0 <= first <= 2.0
    assert 2.0 <= second <= 4.0


def test_a_step_that_takes_too_long_is_given_up_with_its_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TIMEOUT_S, Step.LOAD, 0.05)
    outcome, _, _ = tried(Answers([AWAY] * 3, takes_s=0.03))
    assert (outcome.status, outcome.failure) == (ActionStatus.FAILED, FailureClass.TIMEOUT)
    assert (outcome.detail, outcome.finished_at) == ("given up after 0.05 s", 9.0)
    assert "next reading" in outcome.remedy


def test_every_step_has_a_time_in_which_it_must_end() -> None:
    assert all(replace(ACTION, step=step).timeout_s >= 60.0 for step in Step)
