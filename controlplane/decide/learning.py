"""Learned service times: how long a batch of each size takes at each instance count, and the line through them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from controlplane.decide.fitting import Weighed, fit_line
from controlplane.decide.queueing import BatchLine
from controlplane.domain.observation import Interval
from controlplane.domain.profiles import BatchProfile
from controlplane.domain.state import BatchSum

# Executions remembered per batch size and instance count: newer ones push older ones out.
_MEMORY = 2000.0
ENOUGH = 20.0
# Executions that a profile stands for: as many real ones weigh as much.
_PRIOR = 40.0
_BUSY_MAX = 1.05


@dataclass(frozen=True, slots=True)
class Curve:
    """What is known of a unit's service times. `lines` by instance count; `largest` batch size seen.

    `certain` when two sizes or the full batch were seen: then the gain from batching is measured, not guessed.
    `profile_share`: how much of it rests on a profile, all executions together.
    """

    lines: tuple[tuple[int, BatchLine], ...]
    largest: int
    certain: bool
    profile_share: float = 0.0

    def line(self, instances: int) -> BatchLine:
        """The line measured at the instance count nearest to `instances` (the lower one of two).

        One measured at more instances is taken where it is faster: fewer disturb each other less, so what was measured
        nearest is out of date.
        """
        nearest = min(self.lines, key=lambda entry: (abs(entry[0] - instances), entry[0]))[1]
        more = [line for count, line in self.lines if count >= instances]
        return min(nearest, *more, key=lambda line: line.service_s(line.max_batch)) if more else nearest


def learn(sums: Sequence[BatchSum], intervals: Iterable[Interval], since: float) -> tuple[BatchSum, ...]:
    """The sums with every interval that starts at or after `since` added, older executions fading."""
    table = {(s.size, s.instances): s for s in sums}
    for interval in intervals:
        if interval.start >= since and interval.instances > 0 and interval.batches:
            _add(table, interval)
    return tuple(table[key] for key in sorted(table))


def _add(table: dict[tuple[int, int], BatchSum], interval: Interval) -> None:
    """Add an interval's executions to the table.

    Sizes that it did not show are moved along with those that it did, by as many seconds: a neighbour on the device
    that comes or goes makes batches of every size wait longer or shorter, and large ones may not come again for long.
    """
    shown, moved_s, weight = set(), 0.0, 0
    for batch in interval.batches:
        key = (batch.size, interval.instances)
        old = table.get(key, BatchSum(*key, 0.0, 0.0))
        executions = old.executions + batch.executions
        if executions <= 0:
            continue
        fade = min(1.0, _MEMORY / executions)
        table[key] = BatchSum(*key, executions * fade, (old.compute_s + batch.compute_s) * fade)
        shown.add(key)
        if old.executions >= ENOUGH:
            moved_s += batch.executions * (_mean_s(table[key]) - _mean_s(old))
            weight += batch.executions
    if weight == 0:
        return
    for key, old in table.items():
        if key[1] == interval.instances and key not in shown and old.executions > 0:
            least_s = max((_mean_s(table[k]) for k in shown if k[0] < key[0]), default=0.0)
            mean_s = max(least_s, _mean_s(old) + moved_s / weight)
            table[key] = BatchSum(*key, old.executions, old.executions * mean_s)


def _mean_s(batches: BatchSum) -> float:
    return batches.compute_s / batches.executions


def curve(sums: Sequence[BatchSum], max_batch: int, prior: BatchProfile | None = None) -> Curve | None:
    """Batching lines by instance count; None before enough executions were seen and without a `prior`.

    With a single batch size the gain from larger batches is unknown and assumed to be none (per-item cost only).
    A prior counts as _PRIOR executions at each instance count: what is learned outweighs it.
    """
    lines: list[tuple[int, BatchLine]] = []
    at_prior = set() if prior is None else {prior.instances}
    for instances in sorted({s.instances for s in sums} | at_prior):
        own = [s for s in sums if s.instances == instances and s.executions > 0 and s.compute_s > 0]
        if sum(s.executions for s in own) >= ENOUGH or instances in at_prior:
            lines.append((instances, _fit([*own, *_imagined(prior, own, instances, max_batch)], max_batch)))
    if not lines:
        return None
    sizes = {s.size for s in sums if s.executions >= 1}
    profile_share = 0.0
    if prior is not None:
        sizes |= {1, min(prior.max_batch, max_batch)}
        profile_share = _PRIOR / (_PRIOR + sum(s.executions for s in sums))
    largest = max(sizes)
    certain = max_batch == 1 or len(sizes) > 1 or largest >= max_batch
    return Curve(tuple(lines), largest, certain, profile_share)


def _imagined(
    prior: BatchProfile | None, own: Sequence[BatchSum], instances: int, max_batch: int
) -> tuple[BatchSum, ...]:
    """The prior as executions, half of them of single items and half of the largest batches.

    They take as much longer or shorter than in the profile as `own` do, the nearer to it the more of these there are:
    a profile from another GPU still tells what batching gains, and sizes that come seldom follow those that come often.
    """
    if prior is None:
        return ()
    sizes = {1, min(prior.max_batch, max_batch)}
    each = _PRIOR / len(sizes)
    executions, foretold_s = sum(s.executions for s in own), sum(s.executions * prior.service_s(s.size) for s in own)
    ratio = sum(s.compute_s for s in own) / foretold_s if own else 1.0
    slower = ratio ** (executions / (executions + _PRIOR))
    return tuple(BatchSum(size, instances, each, each * prior.service_s(size) * slower) for size in sorted(sizes))


def _fit(sums: Sequence[BatchSum], max_batch: int) -> BatchLine:
    """The line through the mean seconds per batch of each size."""
    points = [Weighed(s.size, _mean_s(s), s.executions) for s in sums]
    return BatchLine(*fit_line(points), max_batch)


def busy_share(intervals: Sequence[Interval]) -> float | None:
    """Share of the instances' time spent computing; None without statistics or when the readings contradict it.

    More than 1.05 cannot be: statistics and metrics were cut at different moments, so it is missing, not clamped.
    """
    wall_s = compute_s = 0.0
    for interval in intervals:
        if interval.batches:
            wall_s += interval.instances * interval.length_s
            for batch in interval.batches:
                compute_s += batch.compute_s
    return share_of(compute_s, wall_s)


def share_of(compute_s: float, wall_s: float) -> float | None:
    """`busy_share` of so many seconds of computing in so many of all instances."""
    share = compute_s / wall_s if wall_s > 0 else math.inf
    return share if share <= _BUSY_MAX else None


def items_per_request(intervals: Sequence[Interval]) -> float:
    """Items in one request on average, at least 1: clients may send batches of their own."""
    requests = items = 0
    for interval in intervals:
        if interval.batches:
            requests += interval.completed - interval.failed - interval.rejected - interval.canceled
            for batch in interval.batches:
                items += batch.size * batch.executions
    return items_in(items, requests)


def items_in(items: int, requests: int) -> float:
    """`items_per_request` of so many items in so many requests."""
    return max(1.0, items / requests) if requests > 0 and items > 1.05 * requests else 1.0
