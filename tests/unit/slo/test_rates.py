"""Throughput against a floor: which slices are events, and which of them good."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.domain.objectives import Indicator
from controlplane.domain.observation import Interval, TokenCounts
from controlplane.slo.cover import Grid
from controlplane.slo.rates import Outcome, outcomes, rates_of

SLICE = Interval(0.0, 10.0, 600, 0, 0, 0, 0, 1.0, 0.1, 0, 0, running_max=8, instances=2)
REQUESTS, TOKENS = Indicator.THROUGHPUT, Indicator.TOKEN_THROUGHPUT


def outcome(
    *intervals: Interval, floor_per_s: float = 50.0, indicator: Indicator = REQUESTS, unread: bool = False
) -> Outcome:
    servers: list[tuple[str, tuple[Interval, ...]]] = [(f"t{i}", (each,)) for i, each in enumerate(intervals)]
    servers += [("gone", ())] if unread else []
    (found,) = outcomes(indicator, floor_per_s, servers, {}, Grid(0.0, 10.0))
    return found


def test_a_quiet_night_is_no_failure() -> None:
    assert outcome(replace(SLICE, completed=3)) is Outcome.NO_EVENT
    assert outcome(replace(SLICE, completed=0)) is Outcome.NO_EVENT
    # one that waits to be batched with others is no backlog
    assert outcome(replace(SLICE, completed=30, pending_start=1, pending_end=1, queue_s=0.9)) is Outcome.NO_EVENT


def test_the_floor_itself_is_enough() -> None:
    assert outcome(replace(SLICE, completed=500)) is Outcome.GOOD
    assert outcome(replace(SLICE, completed=499, pending_end=1)) is Outcome.BAD
    assert outcome(replace(SLICE, completed=499)) is Outcome.NO_EVENT


def test_demand_is_what_arrives_and_what_waits() -> None:
    assert outcome(replace(SLICE, completed=300, pending_end=200)) is Outcome.BAD
    # more wait than can execute at once
    assert outcome(replace(SLICE, completed=30, pending_start=9, pending_end=9)) is Outcome.BAD
    # how many can execute is not known where only the page of a Triton is
    page = replace(SLICE, completed=30, pending_start=9, pending_end=9, running_max=None)
    assert outcome(page) is Outcome.NO_EVENT
    assert outcome(replace(page, running_start=3, running_end=3)) is Outcome.BAD
    # nothing is answered though somebody waits
    assert outcome(replace(SLICE, completed=0, pending_start=2, pending_end=2)) is Outcome.BAD


def test_errors_are_asked_for_and_not_given() -> None:
    assert outcome(replace(SLICE, completed=600, failed=400, failed_backend=400)) is Outcome.BAD
    assert outcome(replace(SLICE, completed=600, rejected=90, failed=10)) is Outcome.GOOD


def test_our_own_probes_are_neither() -> None:
    assert outcome(replace(SLICE, completed=500, probes=1)) is Outcome.NO_EVENT
    assert outcome(replace(SLICE, completed=0, pending_start=1, pending_end=1, probes_start=1, probes_end=1)) is (
        Outcome.NO_EVENT
    )


def test_the_servers_answer_together_and_one_unread_leaves_it_open() -> None:
    half = replace(SLICE, completed=250)
    assert outcome(half, half) is Outcome.GOOD
    assert outcome(half, replace(half, completed=240, pending_end=20)) is Outcome.BAD
    assert outcome(replace(half, completed=240, pending_end=300), unread=True) is Outcome.UNSURE
    assert outcome(half, half, unread=True) is Outcome.GOOD
    assert outcome(replace(half, completed=3), unread=True) is Outcome.NO_EVENT
    assert outcome(unread=True) is Outcome.NO_EVENT


def test_a_server_counts_for_the_time_that_it_was_there() -> None:
    servers = [("t0", (replace(SLICE, completed=400),)), ("t1", (replace(SLICE, start=5.0, completed=100),))]
    (found,) = outcomes(REQUESTS, 50.0, servers, {"t1": (5.0, 100.0)}, Grid(0.0, 10.0))
    assert found is Outcome.GOOD
    (found,) = outcomes(REQUESTS, 50.1, servers, {"t1": (5.0, 100.0)}, Grid(0.0, 10.0))
    assert found is Outcome.NO_EVENT


def test_an_interval_over_two_slices_is_in_both() -> None:
    over = replace(SLICE, start=5.0, end=15.0, completed=500)
    found = outcomes(REQUESTS, 50.0, [("t0", (over,))], {}, Grid(0.0, 20.0))
    assert found == [Outcome.GOOD, Outcome.GOOD]


def test_a_queue_that_is_not_read_tells_nothing() -> None:
    assert rates_of(replace(SLICE, pending_end=None), REQUESTS) is None
    assert outcome(replace(SLICE, pending_end=None)) is Outcome.NO_EVENT


ENGINE = replace(SLICE, completed=10, running_max=None, running_start=4, running_end=4)


def tokens(generation: int | None, *, ended: int = 10, each: int = 100) -> TokenCounts:
    return TokenCounts(1, generation, 0, 0, 0, ended, 1, ended * each)


@pytest.mark.parametrize(
    ("interval", "found"),
    [
        (replace(ENGINE, tokens=tokens(10_000)), Outcome.GOOD),
        (replace(ENGINE, tokens=tokens(9_000)), Outcome.NO_EVENT),
        # 100 requests of 100 tokens each came, of which 90 still run
        (replace(ENGINE, tokens=tokens(9_000), running_end=94), Outcome.BAD),
        (replace(ENGINE, tokens=tokens(9_000), pending_start=1, pending_end=3), Outcome.BAD),
        (replace(ENGINE, tokens=tokens(9_000), pending_start=0, pending_end=3), Outcome.NO_EVENT),
        (replace(ENGINE, tokens=tokens(None)), Outcome.NO_EVENT),
        (ENGINE, Outcome.NO_EVENT),
    ],
)
def test_tokens_are_asked_for_by_requests(interval: Interval, found: Outcome) -> None:
    assert outcome(interval, floor_per_s=1000.0, indicator=TOKENS) is found


def test_only_what_tells_the_rate_is_measured() -> None:
    assert rates_of(ENGINE, TOKENS) is None
    assert rates_of(replace(ENGINE, tokens=tokens(9_000)), TOKENS) is not None
