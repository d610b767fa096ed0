"""Learned service times: how long a batch of each size takes at each instance count, and the line through them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from controlplane.decide.queueing import BatchLine
from controlplane.domain.observation import Interval
from controlplane.domain.state import BatchSum

# Executions remembered per batch size and instance count: newer ones push older ones out.
_MEMORY = 2000.0
ENOUGH = 20.0
_BUSY_MAX = 1.05


@dataclass(frozen=True, slots=True)
class Curve:
    """What is known of a unit's service times. `lines` by instance count; `largest` batch size seen.

    `certain` when two sizes or the full batch were seen: then the gain from batching is measured, not guessed.
    """

    lines: tuple[tuple[int, BatchLine], ...]
    largest: int
    certain: bool

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


def curve(sums: Sequence[BatchSum], max_batch: int) -> Curve | None:
    """Batching lines by instance count; None before enough executions were seen.

    With a single batch size the gain from larger batches is unknown and assumed to be none (per-item cost only).
    """
    lines: list[tuple[int, BatchLine]] = []
    for instances in sorted({s.instances for s in sums}):
        own = [s for s in sums if s.instances == instances and s.executions > 0 and s.compute_s > 0]
        if sum(s.executions for s in own) >= ENOUGH:
            lines.append((instances, _fit(own, max_batch)))
    if not lines:
        return None
    sizes = {s.size for s in sums if s.executions >= 1}
    largest = max(sizes)
    return Curve(tuple(lines), largest, certain=max_batch == 1 or len(sizes) > 1 or largest >= max_batch)


def _fit(sums: Sequence[BatchSum], max_batch: int) -> BatchLine:
    """Weighted least squares of mean seconds per batch on batch size, both coefficients at least zero."""
    weight = sum(s.executions for s in sums)
    mean_x = sum(s.executions * s.size for s in sums) / weight
    mean_y = sum(s.compute_s for s in sums) / weight
    spread = sum(s.executions * (s.size - mean_x) ** 2 for s in sums)
    if spread <= 0:
        return BatchLine(0.0, mean_y / mean_x, max_batch)
    slope = sum(s.executions * (s.size - mean_x) * (s.compute_s / s.executions - mean_y) for s in sums) / spread
    slope = min(max(slope, 0.0), mean_y / mean_x)
    return BatchLine(mean_y - slope * mean_x, slope, max_batch)


def busy_share(intervals: Sequence[Interval]) -> float | None:
    """Share of the instances' time spent computing; None without statistics or when the readings contradict it.

    More than 1.05 cannot be: statistics and metrics were cut at different moments, so it is missing, not clamped.
    """
    wall_s = sum(i.instances * i.length_s for i in intervals if i.batches)
    if wall_s <= 0:
        return None
    share = sum(b.compute_s for i in intervals for b in i.batches) / wall_s
    return share if share <= _BUSY_MAX else None


def items_per_request(intervals: Sequence[Interval]) -> float:
    """Items in one request on average, at least 1: clients may send batches of their own."""
    requests = items = 0
    for interval in intervals:
        if interval.batches:
            requests += interval.completed - interval.failed - interval.rejected - interval.canceled
            items += sum(batch.size * batch.executions for batch in interval.batches)
    return max(1.0, items / requests) if requests > 0 and items > 1.05 * requests else 1.0
