"""Events by what servers count of their requests: failures, versions, mean times, throughput."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from controlplane.domain.objectives import Objective
from controlplane.domain.observation import Interval, ProbeResult
from controlplane.slo.cover import Grid, overlaps, share
from controlplane.slo.rates import Outcome, outcomes, rates_of
from controlplane.slo.tally import (
    Seen,
    Tally,
    covered_by_servers,
    expected_s,
    measured_by_servers,
    tallies_of,
    threshold_of,
)


def by_server_counters(seen: Seen, _objective: Objective, grid: Grid) -> tuple[list[Tally], list[float]]:
    """Availability by the servers: failed and rejected are bad, canceled are no events, our own probes are no users."""
    tallies = tallies_of(grid)
    for server, intervals in seen.servers:
        for interval in intervals:
            index = grid.index(interval.end)
            if index is None:
                continue
            bad = interval.failed + interval.rejected
            good = interval.completed - bad - interval.canceled
            # a failed probe whose result is timed elsewhere stays a bad event: users' failures are never hidden
            seen_failed = min(_failed_probes(seen.probes, server, interval), interval.probes)
            failed_probes = min(seen_failed, bad)
            # one given up for its timeout is canceled for the server
            given_up = min(seen_failed - failed_probes, interval.canceled)
            tallies[index].bad += bad - failed_probes
            tallies[index].rejected += min(interval.rejected, bad - failed_probes)
            tallies[index].good += max(0, good - (interval.probes - failed_probes - given_up))
    return tallies, measured_by_servers(seen, grid)


def by_version(seen: Seen, objective: Objective, grid: Grid) -> tuple[list[Tally], list[float]]:
    """Availability of one version by the servers, expected on those only that are not known to be without it."""
    own: list[tuple[str, tuple[Interval, ...]]] = []
    without: list[tuple[float, float]] = []
    for server, intervals in seen.servers:
        of_version = [(interval, _of_version(interval, objective.model_version)) for interval in intervals]
        own.append((server, tuple(found for _, found in of_version if found is not None)))
        without += [(interval.start, interval.end) for interval, found in of_version if found is None]
    seen = replace(seen, servers=own)
    tallies, _ = by_server_counters(seen, objective, grid)
    expected = [a - b for a, b in zip(expected_s(seen, grid), overlaps(grid, without), strict=True)]
    return tallies, share(covered_by_servers(seen, grid), expected)


def _of_version(interval: Interval, version: str) -> Interval | None:
    """An interval as if there were that version only; None where it was not loaded.

    Our own probes name no version: Triton gives them to the newest.
    """
    found = next((count for count in interval.versions if count.version == version), None)
    if found is None:
        return None
    newest = max(interval.versions, key=lambda count: int(count.version) if count.version.isdecimal() else -1)
    return replace(
        interval,
        completed=found.completed,
        failed=found.failed,
        rejected=found.rejected,
        canceled=found.canceled,
        probes=min(interval.probes, found.completed) if found is newest else 0,
    )


def by_mean(seen: Seen, objective: Objective, grid: Grid) -> tuple[list[Tally], list[float]]:
    """A slice is one event: good when the mean request time of what was answered in it is within the threshold.

    No event when nothing was answered but our own probes. Triton's request seconds are those of successes only, so
    failures are left out of the mean: they would make it smaller.
    """
    threshold = threshold_of(objective)
    tallies = tallies_of(grid)
    answered, users, request_s = [0] * len(grid), [0] * len(grid), [0.0] * len(grid)
    for _, intervals in seen.servers:
        for interval in intervals:
            index = grid.index(interval.end)
            if index is not None:
                good = interval.completed - interval.failed - interval.rejected - interval.canceled
                answered[index] += good
                users[index] += max(0, good - interval.probes)
                request_s[index] += interval.request_s
    for index, tally in enumerate(tallies):
        if users[index] > 0:
            inside = request_s[index] <= threshold * answered[index]
            tally.good, tally.bad, tally.late = int(inside), int(not inside), int(not inside)
    return tallies, measured_by_servers(seen, grid)


def by_rate(seen: Seen, objective: Objective, grid: Grid) -> tuple[list[Tally], list[float]]:
    """A slice with demand for the floor is one event: good when as much was given, unsure where a server was unread."""
    if objective.floor_per_s is None:
        raise ValueError(f"objective {objective.key} has no floor")
    found = outcomes(objective.indicator, objective.floor_per_s, seen.servers, seen.there, grid)
    tallies = [
        Tally(good=int(o is Outcome.GOOD), bad=int(o is Outcome.BAD), unsure=int(o is Outcome.UNSURE)) for o in found
    ]
    for tally in tallies:
        tally.late = tally.bad
    told = [
        (server, tuple(interval for interval in intervals if rates_of(interval, objective.indicator)))
        for server, intervals in seen.servers
    ]
    return tallies, measured_by_servers(replace(seen, servers=told), grid)


def _failed_probes(probes: Sequence[ProbeResult], server: str, interval: Interval) -> int:
    return sum(p.server == server and p.error != "" and interval.start < p.at <= interval.end for p in probes)
