"""Demand of Triton-like servers in replicas."""

from __future__ import annotations

import pytest

from controlplane.decide.capacity import Capacity
from controlplane.decide.learning import Curve
from controlplane.decide.queueing import BatchLine
from controlplane.decide.replicas.work import batch_work
from controlplane.domain.observation import Interval
from tests.unit.decide.replicas import NOW
from tests.unit.decide.values import an_interval

# 20 ms a request, one at a time, answered within 60 ms
CAPACITY = Capacity(Curve(((1, BatchLine(0.02, 0.0, 1)),), 1, certain=True), 0.06, 0.99, 1.0)


def served(per_s: float, waits_s: float, pending: int = 0, minutes: int = 5) -> tuple[Interval, ...]:
    """A server that ends so many requests a second, each after so long a wait."""
    ends = [NOW - 15.0 * n for n in range(4 * minutes)]
    return tuple(
        an_interval(
            end - 15.0,
            end,
            round(15 * per_s),
            queue_s=15 * per_s * waits_s,
            pending_start=pending,
            pending_end=pending,
        )
        for end in reversed(ends)
    )


def per_replica_per_s(per_s: float, waits_s: float, pending: int = 0) -> float:
    servers = {f"t{n}": served(per_s, waits_s, pending) for n in range(8)}
    return batch_work(servers, CAPACITY, 1, 1, NOW).per_replica_per_s


def test_servers_that_share_what_comes_hold_more_each_than_servers_by_themselves() -> None:
    # at 30/s the mean wait of M/D/1 is 15 ms
    assert per_replica_per_s(30.0, 0.001) > 1.3 * per_replica_per_s(30.0, 0.015)


def test_while_more_comes_than_is_served_what_a_server_holds_is_not_taken_for_less() -> None:
    shared = per_replica_per_s(30.0, 0.001)
    assert per_replica_per_s(50.0, 8.0, pending=400) == pytest.approx(shared)
