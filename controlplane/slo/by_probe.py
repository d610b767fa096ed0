"""Events by our own inferences."""

from __future__ import annotations

from controlplane.domain.objectives import SLICE_S, Indicator, Objective
from controlplane.domain.observation import ProbeResult
from controlplane.slo.cover import Grid, covered, share
from controlplane.slo.tally import Seen, Tally, added, expected_s, tallies_of, threshold_of


def by_probe(seen: Seen, objective: Objective, grid: Grid) -> tuple[list[Tally], list[float]]:
    """Our own inferences: good within the threshold, bad above it or on an error; by the time the indicator names.

    A probe measures its server from its moment until the next one is due.
    """
    threshold = threshold_of(objective)
    tallies = tallies_of(grid)
    every_s = seen.model.probe.every_s if seen.model.probe else SLICE_S
    for probe in seen.probes:
        index = grid.index(probe.at)
        if index is None:
            continue
        took_s = probe_s(probe, objective.indicator)
        if probe.error:
            tallies[index].bad += 1
            tallies[index].errors += 1
        elif took_s is not None and took_s > threshold:
            tallies[index].bad += 1
            tallies[index].late += 1
        elif took_s is not None:
            tallies[index].good += 1
    rows = (
        covered(grid, ((probe.at, probe.at + every_s) for probe in seen.probes if probe.server == server))
        for server, _ in seen.servers
    )
    return tallies, share(added(rows, len(grid)), expected_s(seen, grid))


def probe_s(probe: ProbeResult, indicator: Indicator) -> float | None:
    """The time of a probe that an indicator is about, None where it has none: to the first token, else to the end."""
    return probe.ttft_s if indicator is Indicator.TTFT else probe.latency_s
