"""Throughput against a floor: a time-slice indicator, of those slices in which there was demand for it.

A quiet night is no failure: a slice is an event only when as much was asked for as the floor, or requests piled up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from controlplane.domain.objectives import SLICE_S, Indicator
from controlplane.domain.observation import Interval
from controlplane.slo.cover import Grid, overlaps, parts


class Outcome(Enum):
    """What a slice is. UNSURE: there was demand for the floor, but not every server could be read."""

    NO_EVENT = 0
    GOOD = 1
    BAD = 2
    UNSURE = 3


@dataclass(frozen=True, slots=True)
class Rates:
    """What an interval says of throughput, per second: what was given, and what was asked for as far as that is known.

    `piled_up`: requests waited that the server had no room for.
    """

    given: float
    asked: float
    piled_up: bool


@dataclass(slots=True)
class _Sum:
    measured_s: float = 0.0
    given: float = 0.0
    asked: float = 0.0
    piled_up: bool = False

    def per_s(self, amount: float) -> float:
        return amount / self.measured_s if self.measured_s > 0 else 0.0


def rates_of(interval: Interval, indicator: Indicator) -> Rates | None:
    """The rates of an interval, our own probes left out. None where it does not tell them.

    What waited at the start or arrived was asked for: it was answered, or waits at the end. Tokens are asked for by
    requests that arrive, as many for each as those that ended had.
    """
    if interval.pending_end is None or interval.length_s <= 0:
        return None
    waiting = max(0, interval.pending_end - interval.probes_end)
    before = max(0, (interval.pending_start or 0) - interval.probes_start)
    running = (interval.running_end or 0) - (interval.running_start or 0) if interval.running_start is not None else 0
    completed = max(0, interval.completed - interval.probes)
    arrived = max(0, completed + waiting - before + running)
    piled_up = _piled_up(interval, before, waiting)
    if indicator is Indicator.THROUGHPUT:
        given = max(0, completed - interval.failed - interval.rejected - interval.canceled)
        asked = float(max(arrived, completed + waiting))
    else:
        tokens = interval.tokens
        if tokens is None or tokens.generation is None:
            return None
        given = tokens.generation
        asked = arrived * tokens.ended_generation / tokens.ended if tokens.ended and tokens.ended_generation else 0.0
    return Rates(given / interval.length_s, asked / interval.length_s, piled_up)


def _piled_up(interval: Interval, before: int, waiting: int) -> bool:
    """Whether requests waited for room, and not for others to be batched with."""
    both = before > 0 and waiting > 0
    if interval.running_max is not None and waiting > interval.running_max:
        return True
    # an engine that tells what it runs takes on whatever it has room for; others may wait for a batch to fill
    engine = interval.running_max is None and interval.running_end is not None
    return both and (engine or interval.completed == 0)


def outcomes(
    indicator: Indicator,
    floor_per_s: float,
    servers: Sequence[tuple[str, Sequence[Interval]]],
    there: Mapping[str, tuple[float, float]],
    grid: Grid,
) -> list[Outcome]:
    """What each slice is, by all servers together; an interval's events are spread over it evenly.

    `there`: from when to when servers were there, by name, else always. One that was read for less than half of its
    part of a slice is taken as not read.
    """
    given, asked = [0.0] * len(grid), [0.0] * len(grid)
    piled_up, unread = [False] * len(grid), [False] * len(grid)
    for server, intervals in servers:
        expected = overlaps(grid, [there.get(server, (grid.since, grid.until))])
        for i, (expected_s, found) in enumerate(zip(expected, _sums(grid, intervals, indicator), strict=True)):
            unread[i] |= expected_s > 0 and found.measured_s < expected_s / 2
            given[i] += found.per_s(found.given) * expected_s / SLICE_S
            asked[i] += found.per_s(found.asked) * expected_s / SLICE_S
            piled_up[i] |= found.piled_up
    return [
        _outcome(given[i], max(asked[i], math.inf if piled_up[i] else 0.0), floor_per_s, unread=unread[i])
        for i in range(len(grid))
    ]


def _sums(grid: Grid, intervals: Sequence[Interval], indicator: Indicator) -> list[_Sum]:
    sums = [_Sum() for _ in range(len(grid))]
    for index, seconds, rates in _spread(grid, intervals, indicator):
        found = sums[index]
        found.measured_s += seconds
        found.given += seconds * rates.given
        found.asked += seconds * rates.asked
        found.piled_up |= rates.piled_up
    return sums


def _spread(grid: Grid, intervals: Sequence[Interval], indicator: Indicator) -> Iterator[tuple[int, float, Rates]]:
    for interval in intervals:
        if interval.end > grid.since and (rates := rates_of(interval, indicator)) is not None:
            for index, seconds in parts(grid, interval.start, interval.end):
                yield index, seconds, rates


def _outcome(given: float, asked: float, floor: float, *, unread: bool) -> Outcome:
    if _reaches(given, floor):
        return Outcome.GOOD
    if not _reaches(asked, floor):
        return Outcome.NO_EVENT
    return Outcome.UNSURE if unread else Outcome.BAD


def _reaches(rate: float, floor: float) -> bool:
    return rate > floor or math.isclose(rate, floor, rel_tol=1e-9)
