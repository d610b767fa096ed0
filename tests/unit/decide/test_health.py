"""Which failures are those of a dead backend: the figures are those of a real Triton 2.51 with a killed stub."""

from __future__ import annotations

import pytest

from controlplane.decide.health import dead_backend
from controlplane.decide.policy import Policy
from controlplane.domain.observation import Interval

NOW = 1000.0


def second(
    ago_s: float,
    *,
    ok: int = 0,
    failed: int = 0,
    failure_s: float | None = None,
    works_s: float = 0.05,
    queue_s: float = 0.0,
) -> Interval:
    """A second that ended `ago_s` before now."""
    return Interval(
        start=NOW - ago_s - 1,
        end=NOW - ago_s,
        completed=ok + failed,
        failed=failed,
        failed_backend=failed,
        rejected=0,
        canceled=0,
        request_s=ok * (works_s + queue_s),
        queue_s=ok * queue_s,
        pending_start=0,
        pending_end=0,
        running_max=8,
        instances=3,
        failure_s=failure_s if failed else None,
    )


def dead(*intervals: Interval, since: float = 0.0) -> bool:
    return dead_backend(intervals, Policy(), since, NOW) is not None


def test_three_failures_in_a_row_show_a_dead_backend_however_busy_it_was_before() -> None:
    before = [second(ago_s, ok=500) for ago_s in range(20, 3, -1)]
    failing = [second(ago_s, failed=1) for ago_s in (2, 1, 0)]
    assert dead(*before, *failing)
    assert not dead(*before, *failing[:2])


def test_one_dead_instance_among_busy_ones_is_known_by_how_long_its_failures_take() -> None:
    intervals = [second(ago_s, ok=100, failed=1, failure_s=1.002) for ago_s in (2, 1, 0)]
    assert dead(*intervals)
    waiting = [second(ago_s, ok=100, failed=1, failure_s=6.002, queue_s=5.0) for ago_s in (2, 1, 0)]
    assert dead(*waiting), "what they waited before does not count"


@pytest.mark.parametrize(("failure_s", "works_s"), [(0.06, 0.05), (None, 0.05), (1.5, 1.4)])
def test_a_few_requests_that_the_model_cannot_serve_are_no_dead_backend(
    failure_s: float | None, works_s: float
) -> None:
    assert not dead(*[second(ago_s, ok=100, failed=2, failure_s=failure_s, works_s=works_s) for ago_s in (2, 1, 0)])


def test_failures_while_waiting_long_are_no_dead_backend() -> None:
    assert not dead(*[second(ago_s, ok=100, failed=2, failure_s=5.05, queue_s=5.0) for ago_s in (2, 1, 0)])


def test_a_fifth_of_all_is_enough() -> None:
    assert dead(second(1, ok=8, failed=2), second(0, ok=4, failed=2))
    assert not dead(second(1, ok=8, failed=1), second(0, ok=8, failed=2))


def test_what_failed_before_the_last_action_does_not_count() -> None:
    intervals = [second(ago_s, failed=1) for ago_s in (3, 2, 1, 0)]
    assert dead(*intervals, since=NOW - 4)
    assert not dead(*intervals, since=NOW - 2)
