"""The only clock of the product. Everything below takes `now` as an argument."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

Clock: TypeAlias = Callable[[], float]

# Pace at which time goes on while the system's clock is behind: rates measured meanwhile are off by no more than this.
_SLOWEST = 0.95


class SteadyClock:
    """Unix seconds that never go back, by the system's `wall` clock and its `steady` one.

    Where the wall clock is set back, time goes on a little slower until the wall clock has caught up. A step back would
    make every new reading older than those before, and prolong every wait by as much. A restart takes the wall clock as
    it is.
    """

    def __init__(
        self,
        wall: Clock = time.time,  # noqa: TID251 - this is the clock
        steady: Clock = time.monotonic,
    ) -> None:
        self._wall = wall
        self._steady = steady
        self._now, self._steady_at = wall(), steady()

    def __call__(self) -> float:
        """Unix seconds."""
        steady = self._steady()
        least = self._now + _SLOWEST * (steady - self._steady_at)
        self._now, self._steady_at = max(self._wall(), least), steady
        return self._now


def steady_clock() -> float:
    """Seconds that are never set and go on while the process is paused; on Linux while the machine sleeps too."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


wall_clock: Clock = SteadyClock()
