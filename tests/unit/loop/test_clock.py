"""Time never goes back, whatever is done to the system's clock."""

from __future__ import annotations

from itertools import pairwise

import pytest

from controlplane.loop.clock import SteadyClock

NOW = 1_700_000_000.0


class Machine:
    """A system with a wall clock that can be set and one that cannot."""

    def __init__(self) -> None:
        self.wall, self.steady = NOW, 50.0
        self.clock = SteadyClock(lambda: self.wall, lambda: self.steady)

    def after(self, seconds: float, *, set_by: float = 0.0) -> float:
        self.wall += seconds + set_by
        self.steady += seconds
        return self.clock()


def test_it_follows_the_system_forward() -> None:
    machine = Machine()
    assert machine.after(10.0) == NOW + 10
    assert machine.after(10.0, set_by=3600.0) == NOW + 3620


def test_a_step_back_slows_it_down_until_the_system_has_caught_up() -> None:
    machine = Machine()
    machine.after(10.0)
    assert machine.after(10.0, set_by=-60.0) == pytest.approx(NOW + 10 + 9.5)
    times = [machine.after(10.0) for _ in range(200)]
    assert all(9.4 < later - earlier <= 10.6 for earlier, later in pairwise(times))
    assert times[-1] == machine.wall
