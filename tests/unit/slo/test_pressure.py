from __future__ import annotations

from dataclasses import replace

from controlplane.domain.observation import Interval
from controlplane.slo.cover import Grid
from controlplane.slo.pressure import pressed, waited

BUSY = Interval(
    start=12, end=17, completed=50, failed=0, failed_backend=0, rejected=0, canceled=0,
    request_s=10.0, queue_s=1.0, pending_start=0, pending_end=2, running_max=8, instances=2,
)  # fmt: skip


def test_requests_that_are_served_at_once_do_not_wait_for_capacity() -> None:
    assert not waited(BUSY)


def test_requests_that_mostly_wait_do() -> None:
    assert waited(replace(BUSY, queue_s=5.0))


def test_more_waiting_than_can_be_served_wait_for_capacity_though_nothing_was_finished() -> None:
    assert waited(replace(BUSY, completed=0, request_s=0.0, queue_s=0.0, pending_end=9))


def test_a_queue_that_is_not_observed_tells_nothing() -> None:
    assert not waited(replace(BUSY, pending_end=None))
    assert not waited(replace(BUSY, pending_end=9, running_max=None))


def test_a_dead_backend_without_a_queue_is_no_lack_of_capacity() -> None:
    assert not waited(replace(BUSY, failed=50, failed_backend=50, request_s=0.0, queue_s=0.0, pending_end=0))


def test_every_slice_that_such_an_interval_or_strained_time_touches_is_pressed() -> None:
    grid = Grid(0, 60)
    waiting = replace(BUSY, start=18, end=23, queue_s=9.0)
    assert pressed(grid, [BUSY, waiting], [(45, 46)]) == [False, True, True, False, True, False]
    assert pressed(grid, [], []) == [False] * 6
