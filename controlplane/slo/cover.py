"""Cutting time into slices: which slice holds a moment, and how much of each was observed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from controlplane.domain.objectives import SLICE_S


@dataclass(frozen=True, slots=True)
class Grid:
    """The slices in [since, until); both are multiples of SLICE_S, else ValueError."""

    since: float
    until: float

    def __post_init__(self) -> None:
        if self.since % SLICE_S or self.until % SLICE_S:
            raise ValueError(f"[{self.since}, {self.until}) is not made of whole slices of {SLICE_S:g} s")

    def __len__(self) -> int:
        return max(0, round((self.until - self.since) / SLICE_S))

    def start(self, index: int) -> float:
        """Where a slice starts."""
        return self.since + index * SLICE_S

    def index(self, moment: float) -> int | None:
        """The slice that holds `moment`, None outside."""
        if not self.since <= moment < self.until:
            return None
        return int((moment - self.since) // SLICE_S)


def covered(grid: Grid, spans: Iterable[tuple[float, float]]) -> list[float]:
    """Seconds of each slice inside at least one of `spans` (start, end): time seen twice counts once."""
    seconds = [0.0] * len(grid)
    reached = float("-inf")
    for start, end in sorted(spans):
        for index, part_s in parts(grid, max(start, reached), end):
            seconds[index] += part_s
        reached = max(reached, end)
    return [min(SLICE_S, s) for s in seconds]


def overlaps(grid: Grid, spans: Iterable[tuple[float, float]]) -> list[float]:
    """Seconds of each slice inside `spans`, added up: time seen twice counts twice."""
    seconds = [0.0] * len(grid)
    for start, end in spans:
        for index, part_s in parts(grid, start, end):
            seconds[index] += part_s
    return seconds


def parts(grid: Grid, start: float, end: float) -> Iterator[tuple[int, float]]:
    """The slices that hold any of [start, end), each with the seconds that it holds."""
    start, end = max(start, grid.since), min(end, grid.until)
    while start < end:
        index = int((start - grid.since) // SLICE_S)
        stop = min(end, grid.start(index + 1))
        yield index, stop - start
        start = stop


def share(seconds: list[float], expected: list[float]) -> list[float]:
    """Slice by slice the share of the expected seconds that were measured, in seconds of a slice; zero without any."""
    return [
        min(SLICE_S, SLICE_S * measured / wanted) if wanted > 0 else 0.0
        for measured, wanted in zip(seconds, expected, strict=True)
    ]
