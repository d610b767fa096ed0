"""Instances that take no requests any more and still execute those they took."""

from __future__ import annotations

from collections import deque

RETIRES_S = 60.0
"""For so long an instance that was taken away is taken to execute at most."""


class Retiring:
    """How many instances of a model may execute.

    A Triton's configuration shows a lower count at once, but the instances that go end their batch first; a hot reload
    has the old instances do so beside the new ones (both seen on 2.51). No reading tells when they have.
    """

    def __init__(self) -> None:
        self._instances = 0
        self._leaving: deque[tuple[float, int]] = deque()

    def executing(self, at: float, instances: int, *, reloaded: bool) -> int:
        """Instances that may execute at `at`: those that there are, and those that left within RETIRES_S."""
        leaving = self._instances if reloaded else self._instances - instances
        if leaving > 0:
            self._leaving.append((at, leaving))
        while self._leaving and self._leaving[0][0] <= at - RETIRES_S:
            self._leaving.popleft()
        self._instances = instances
        return instances + sum(count for _, count in self._leaving)
