"""The demand for which MIG layouts are planned: the highest of the last dwell, over restarts too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

Points = Sequence[tuple[float, float]]
"""Times, and requests per second then."""
_STEPS = 60
"""What is kept of a dwell is as fine as so many parts of it, so that it stays small whatever the ticks."""


class HeldDemand:
    """By model, over `dwell_s` seconds: it rises at once and falls only after it was less for so long.

    Kept are times at which it was higher than ever after. One that is not known any more stays as it was.
    """

    def __init__(self, dwell_s: float) -> None:
        self._dwell_s = dwell_s
        self._seen: dict[str, Points] = {}

    def note(self, model: str, per_s: float, now: float) -> None:
        """It was seen."""
        start = now - self._dwell_s
        higher = [(at, value) for at, value in self._seen.get(model, ()) if at >= start and value > per_s]
        self._seen[model] = (*higher, (now, per_s))

    def highest(self) -> dict[str, float]:
        """Requests per second by model, of those of which it was ever known."""
        return {model: seen[0][1] for model, seen in self._seen.items()}

    def of(self, model: str) -> tuple[float, float] | None:
        """When it was seen last, and the highest; None: it was never known."""
        seen = self._seen.get(model)
        return None if seen is None else (seen[-1][0], seen[0][1])

    @property
    def kept(self) -> dict[str, tuple[tuple[float, float], ...]]:
        """For the next process, as PolicyState has it: a demand is held as long, or up to a 60th of a dwell longer."""
        return {model: tuple(_coarse(seen, self._dwell_s / _STEPS)) for model, seen in self._seen.items()}

    def take_over(self, kept: Mapping[str, Points], models: Iterable[str], now: float) -> None:
        """What an earlier process saw of these models within a dwell, in place of what was seen here."""
        start = now - self._dwell_s
        of_late = {m: tuple((min(at, now), per_s) for at, per_s in kept.get(m, ()) if at >= start) for m in models}
        self._seen = {model: seen for model, seen in of_late.items() if seen}


def _coarse(seen: Points, step_s: float) -> Iterator[tuple[float, float]]:
    """Of each step the highest, which is the first, at the time of the last."""
    for _, group in groupby(seen, key=lambda point: point[0] // step_s):
        points = tuple(group)
        yield points[-1][0], points[0][1]
