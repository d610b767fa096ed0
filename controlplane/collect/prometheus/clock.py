"""How our clock and that of a Prometheus differ, as far as its answers tell."""

from __future__ import annotations


class PrometheusClock:
    """Puts moments of a Prometheus into our clock."""

    def __init__(self) -> None:
        self._offset_s: float | None = None

    def seen(self, at: float, before: float, after: float) -> None:
        """It was `at` for Prometheus when it was asked, which was between `before` and `after` by our clock.

        That bounds the offset; one that is within is left alone, so that the distance of two scrapes is exact.
        """
        low, high = before - at, after - at
        self._offset_s = min(high, max(low, (low + high) / 2 if self._offset_s is None else self._offset_s))

    def ours(self, at: float) -> float | None:
        """A moment of Prometheus by our clock; None as long as it never told one."""
        return None if self._offset_s is None else at + self._offset_s
