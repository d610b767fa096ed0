"""Histograms by the minute, kept as they were read, so that history can be judged again by another threshold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from controlplane.domain.history import BUCKETS_S, BucketRow, SketchRow
from controlplane.domain.objectives import Counts, Indicator, Objective
from controlplane.domain.observation import LatencyInterval, ProbeResult
from controlplane.slo.by_histogram import split
from controlplane.slo.by_probe import probe_s
from controlplane.slo.sketch import Sketch, bucket_of


def close_minutes(
    model: str, latencies: Iterable[LatencyInterval], probes: Iterable[ProbeResult], *, since: float, until: float
) -> tuple[BucketRow | SketchRow, ...]:
    """What was read of a model in [since, until), both whole minutes, by the minute that holds its end.

    One row for each minute, indicator, gateway and set of edges that counted anything: nothing of no traffic. The time
    of probes to the whole answer is kept as their latency, whatever an objective calls it.
    """
    counts: dict[tuple[float, Indicator, str, tuple[float, ...]], list[int]] = {}
    errors: dict[tuple[float, Indicator, str, tuple[float, ...]], int] = {}
    for interval in latencies:
        if since <= interval.end < until and (any(interval.counts) or interval.errors):
            key = (_minute(interval.end), interval.indicator, interval.gateway, interval.edges)
            kept = counts.setdefault(key, [0] * len(interval.counts))
            for bucket, count in enumerate(interval.counts):
                kept[bucket] += count
            errors[key] = errors.get(key, 0) + interval.errors
    rows: list[BucketRow | SketchRow] = [
        BucketRow(model, indicator, gateway, start, edges, tuple(found), errors[start, indicator, gateway, edges])
        for (start, indicator, gateway, edges), found in sorted(counts.items())
    ]
    timed: dict[float, list[ProbeResult]] = {}
    for probe in probes:
        if since <= probe.at < until:
            timed.setdefault(_minute(probe.at), []).append(probe)
    for start, found in sorted(timed.items()):
        rows.append(_sketched(model, Indicator.LATENCY, start, found))
        if any(probe.ttft_s is not None for probe in found):
            rows.append(_sketched(model, Indicator.TTFT, start, found))
    return tuple(rows)


def _sketched(model: str, indicator: Indicator, start: float, probes: Sequence[ProbeResult]) -> SketchRow:
    buckets: dict[int, int] = {}
    for probe in probes:
        took_s = probe_s(probe, indicator)
        if not probe.error and took_s is not None:
            bucket = bucket_of(took_s)
            buckets[bucket] = buckets.get(bucket, 0) + 1
    return SketchRow(model, indicator, start, buckets, sum(probe.error != "" for probe in probes))


def judged_again(row: BucketRow | SketchRow, objective: Objective) -> Counts:
    """What a row counts for by another threshold: good, bad, and unsure where the threshold cuts a bucket.

    Errors have no latency: they are bad events of probes only, as in the slices. How long was measured a row does not
    tell. Raises ValueError for an objective without a threshold.
    """
    if objective.threshold_s is None:
        raise ValueError(f"objective {objective.key} has no threshold")
    if isinstance(row, SketchRow):
        kept = Sketch(row.buckets)
        low, high = kept.at_most(objective.threshold_s)
        return Counts(low, kept.count - high + row.errors, high - low)
    return Counts(*split(row.edges, row.counts, objective.threshold_s))


def _minute(at: float) -> float:
    return at // BUCKETS_S * BUCKETS_S
