"""Copies whose start failed: when each is tried again."""

from __future__ import annotations

from collections.abc import Callable

from controlplane.domain.layouts import FailingCopy


class FailingCopies:
    """By model and GPU. One is tried again after `rest_s` seconds, then after twice that, and so on up to `most_s`."""

    def __init__(self, clock: Callable[[], float], rest_s: float, most_s: float) -> None:
        self._clock, self._rest_s, self._most_s = clock, rest_s, most_s
        self.kept: tuple[FailingCopy, ...] = ()
        """Those whose newest start failed."""

    def started(self, model: str, uuid: str, *, answers: bool) -> None:
        """A copy answers, or its start failed."""
        others = tuple(one for one in self.kept if (one.model, one.uuid) != (model, uuid))
        failures = 1 + max((one.failures for one in self.kept if one not in others), default=0)
        wait_s = min(self._most_s, self._rest_s * 2.0 ** (failures - 1))
        failing = FailingCopy(model, uuid, failures, self._clock() + wait_s)
        self.kept = others if answers else (*others, failing)

    def resting(self, now: float) -> frozenset[tuple[str, str]]:
        """Those that are not to be tried yet."""
        return frozenset((one.model, one.uuid) for one in self.kept if one.retry_at > now)

    def models(self, now: float) -> frozenset[str]:
        """Of which a start failed somewhere of late: not of those that could have been tried for `most_s` by now."""
        return frozenset(one.model for one in self.kept if one.retry_at + self._most_s > now)
