"""What the families of indicators share: what was read, events by slice, and how much of each was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from controlplane.domain.fleet import ModelSpec
from controlplane.domain.objectives import Objective
from controlplane.domain.observation import Interval, LatencyInterval, ProbeResult, RatioInterval
from controlplane.slo.cover import Grid, covered, overlaps, share
from controlplane.slo.pressure import Spans

ServerIntervals = Sequence[tuple[str, tuple[Interval, ...]]]
"""What each of a model's servers did for it: (server, intervals). A server that was not read has no intervals."""


@dataclass(slots=True)
class Tally:
    """Events of a slice. Of the bad ones capacity explains `rejected`, and `late` and `errors` where it was short."""

    good: int = 0
    bad: int = 0
    unsure: int = 0
    rejected: int = 0
    late: int = 0
    errors: int = 0

    def explained(self, *, short: bool, failed_backend: int) -> int:
        """Bad events that capacity explains; errors but for what the backends say failed in them."""
        more = self.late + max(0, self.errors - failed_backend) if short else 0
        return min(self.bad, self.rejected + more)


@dataclass(frozen=True, slots=True)
class Seen:
    """All that was read about one model. `gateways`: since when each counts requests of it, by name."""

    model: ModelSpec
    servers: ServerIntervals
    latencies: Sequence[LatencyInterval]
    probes: Sequence[ProbeResult]
    there: Mapping[str, tuple[float, float]]
    strained: Spans
    ratios: Sequence[RatioInterval]
    gateways: Mapping[str, float]


Count = Callable[[Seen, Objective, Grid], tuple[list[Tally], list[float]]]
"""What a family makes of an objective: events and measured seconds, slice by slice."""


def tallies_of(grid: Grid) -> list[Tally]:
    """No events yet, slice by slice."""
    return [Tally() for _ in range(len(grid))]


def threshold_of(objective: Objective) -> float:
    """Its threshold in seconds. Raises ValueError where it has none."""
    if objective.threshold_s is None:
        raise ValueError(f"objective {objective.key} has no threshold")
    return objective.threshold_s


def measured_by_servers(seen: Seen, grid: Grid) -> list[float]:
    """The share of each slice that was read of the servers that were there, in seconds of a slice."""
    return share(covered_by_servers(seen, grid), expected_s(seen, grid))


def covered_by_servers(seen: Seen, grid: Grid) -> list[float]:
    """Seconds of each slice that were read, of all servers added up."""
    rows = (covered(grid, ((i.start, i.end) for i in intervals)) for _, intervals in seen.servers)
    return added(rows, len(grid))


def expected_s(seen: Seen, grid: Grid) -> list[float]:
    """Seconds of each slice that the model's servers were there, added up."""
    always = (grid.since, grid.until)
    return overlaps(grid, (seen.there.get(server, always) for server, _ in seen.servers))


def added(rows: Iterable[list[float]], length: int) -> list[float]:
    """Rows of so many slices, added up slice by slice."""
    total = [0.0] * length
    for row in rows:
        total = [a + b for a, b in zip(total, row, strict=True)]
    return total
