from __future__ import annotations

from collections import deque

from controlplane.collect.kept import forget_before
from controlplane.domain.objectives import Indicator
from controlplane.domain.observation import LatencyInterval


def test_what_ended_before_is_forgotten_and_what_ended_at_the_time_stays() -> None:
    kept = deque(LatencyInterval(Indicator.TTFT, at, at + 5, (), (0,), 0) for at in (0.0, 5.0, 10.0))
    forget_before(10.0, kept)
    assert [interval.end for interval in kept] == [10.0, 15.0]
    forget_before(100.0, kept)
    assert not kept
