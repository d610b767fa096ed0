"""Advice on a model's batching: what to change in its configuration, and what that should give.

Four cases, of which the first that holds is told: see `BatchingCase`. The numbers come from the learned batching line
and `queueing`, those of the present from what was seen. They promise no more than the line can bear:

- beyond the largest batch seen it goes on with the steeper of its own slope and that between the two largest sizes
  (on GPUs the time of a batch grows faster once the device is full), and only to twice that size;
- no queue delay is ever advised. Without one an idle instance takes what waits, so that under load batches form by
  themselves; with one requests wait far longer than the delay says (docs/why/triton-facts.md).

Whether larger batches fit the GPU's memory is not known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from controlplane.decide.capacity import FULL_SHARE
from controlplane.decide.learning import ENOUGH, curve, items_in, share_of
from controlplane.decide.queueing import BatchLine, capacity_per_s, latency_s
from controlplane.domain.batching import BatchingCase, BatchingKnobs
from controlplane.domain.observation import Interval
from controlplane.domain.state import BatchSum

# Fewer requests say too little; a model that only probes ask stays below it.
_REQUESTS_MIN = 100
_GAIN_MIN = 0.10
LENIENT = 0.8
"""What was told is told on until it misses the mark by a fifth: figures at a mark do not make it flicker."""
_BUSY = 0.70
_IDLE = 0.50
# Share of the time of a request, or of the executions, that is most of it.
_MOST = 0.50
# Longer waits than so many delays are congestion.
_DELAYS_MAX = 2.0


@dataclass(frozen=True, slots=True)
class Worked:
    """What a unit did while it executed anything.

    Means are of answered requests: `mean_s` from arrival to answer, `queue_s` of it waiting. `arrivals_per_s` are
    answers and the growth of the queue. `items` in a request. `busy`: share of the instances' time. `sizes`: executions
    by batch size; `execution_s`: seconds that one took on average.
    """

    covered_s: float
    arrivals_per_s: float
    mean_s: float
    queue_s: float
    items: float
    busy: float
    sizes: tuple[tuple[int, int], ...]
    execution_s: float

    @property
    def executions(self) -> int:
        """Of all sizes."""
        return sum(count for _, count in self.sizes)


@dataclass(frozen=True, slots=True)
class Gain:
    """Requests per second inside the objective (four fifths of the most, without one), now and then.

    `latency_*`: seconds from arrival to answer at the present arrivals, now on average, then of half of the requests;
    None where the queue would go on growing.
    """

    capacity_before_per_s: float
    capacity_after_per_s: float
    latency_before_s: float
    latency_after_s: float | None


@dataclass(frozen=True, slots=True)
class BatchingAdvice:
    """What should be configured and why. `gain` is None where it is not known before it was tried."""

    case: BatchingCase
    now: BatchingKnobs
    then: BatchingKnobs
    worked: Worked
    gain: Gain | None


@dataclass(frozen=True, slots=True)
class _Unit:
    """What the cases look at; arguments as in `advise`."""

    worked: Worked
    knobs: BatchingKnobs
    sums: Sequence[BatchSum]
    instances: int
    threshold_s: float | None
    share: float
    told: BatchingCase | None

    def mark(self, case: BatchingCase) -> float:
        """What the marks that must be reached are multiplied with."""
        return LENIENT if self.told is case else 1.0

    def per_s(self, line: BatchLine, delay_s: float = 0.0) -> float:
        """Items per second inside the objective; 0.0 where even a request alone takes longer."""
        if self.threshold_s is None:
            return FULL_SHARE * line.limit_per_s(self.instances)
        left_s = self.threshold_s - delay_s
        return capacity_per_s(line, self.instances, left_s, self.share) if left_s > 0 else 0.0

    def then_s(self, line: BatchLine) -> float | None:
        """Seconds within which half of the present requests would be done; None: the instances cannot keep up."""
        items = self.worked.items
        rate_per_s = self.worked.arrivals_per_s * items
        if rate_per_s >= line.limit_per_s(self.instances):
            return None
        return latency_s(line, self.instances, rate_per_s, 0.5) + line.per_item_s * (items - 1)

    def more(
        self, case: BatchingCase, then: BatchingKnobs, before_per_s: float, line: BatchLine
    ) -> BatchingAdvice | None:
        """The advice, where it gives a tenth more requests per second than `before_per_s`, inside the objective."""
        after_per_s = self.per_s(line, then.max_queue_delay_s) / self.worked.items
        if before_per_s <= 0 or after_per_s < (1 + _GAIN_MIN * self.mark(case)) * before_per_s:
            return None
        gain = Gain(before_per_s, after_per_s, self.worked.mean_s, self.then_s(line))
        return BatchingAdvice(case, self.knobs, then, self.worked, gain)

    def sooner(self, case: BatchingCase) -> BatchingAdvice | None:
        """The advice to take the delay away, where that makes requests a tenth faster, inside the objective."""
        knobs, items = self.knobs, self.worked.items
        service = curve(self.sums, max(1, knobs.max_batch_size))
        if service is None or (not service.certain and service.largest > 1):
            return None  # what a request alone takes is not known
        line = service.line(self.instances)
        before_per_s, after_per_s = self.per_s(line, knobs.max_queue_delay_s) / items, self.per_s(line) / items
        then_s = self.then_s(line)
        if after_per_s <= 0 or then_s is None or then_s > (1 - _GAIN_MIN * self.mark(case)) * self.worked.mean_s:
            return None
        then = replace(knobs, max_queue_delay_s=0.0, preferred_sizes=())
        return BatchingAdvice(
            case, knobs, then, self.worked, Gain(before_per_s, after_per_s, self.worked.mean_s, then_s)
        )


def work(intervals: Sequence[Interval]) -> Worked | None:
    """What was done; None where too little was asked, or what was seen contradicts itself or is not all there."""
    worked = [i for i in intervals if i.batches]
    answered = probes = 0
    covered_s = wall_s = request_s = queue_s = compute_s = 0.0
    sizes: dict[int, int] = {}
    for interval in worked:
        answered += interval.completed - interval.failed - interval.rejected - interval.canceled
        probes += interval.probes
        covered_s += interval.length_s
        wall_s += interval.instances * interval.length_s
        request_s += interval.request_s
        queue_s += interval.queue_s
        for batch in interval.batches:
            compute_s += batch.compute_s
            if batch.executions > 0:
                sizes[batch.size] = sizes.get(batch.size, 0) + batch.executions
    busy = share_of(compute_s, wall_s)
    if busy is None or answered - probes < _REQUESTS_MIN or not sizes or request_s <= 0:
        return None
    first, last = worked[0].pending_start, worked[-1].pending_end
    growth = 0 if first is None or last is None else last - first
    return Worked(
        covered_s=covered_s,
        arrivals_per_s=max(0.0, (answered + growth) / covered_s),
        mean_s=request_s / answered,
        queue_s=queue_s / answered,
        items=items_in(sum(size * executions for size, executions in sizes.items()), answered),
        busy=busy,
        sizes=tuple(sorted(sizes.items())),
        execution_s=compute_s / sum(sizes.values()),
    )


def possible(knobs: BatchingKnobs, newest: Interval) -> bool:
    """Whether there can be anything to say: of most models nothing more needs to be looked at."""
    if not knobs.dynamic:
        return knobs.max_batch_size > 1
    return knobs.max_queue_delay_s > 0 or any(b.size >= knobs.max_batch_size > 1 for b in newest.batches)


def advise(
    worked: Worked,
    knobs: BatchingKnobs,
    sums: Sequence[BatchSum],
    instances: int,
    objective: tuple[float | None, float],
    told: BatchingCase | None = None,
) -> BatchingAdvice | None:
    """What to change, None where nothing would give a tenth more.

    `sums`: learned service times. `objective`: (seconds, share of requests). `told`: what was advised last.
    """
    unit = _Unit(worked, knobs, sums, instances, *objective, told)
    advices = (look(unit) for look in (_unbatched, _preferred_unreached, _delay_too_long, _batch_limit))
    return next((advice for advice in advices if advice is not None), None)


def _unbatched(unit: _Unit) -> BatchingAdvice | None:
    """Busy instances take one request at a time though the model could take more."""
    case, worked, knobs = BatchingCase.UNBATCHED, unit.worked, unit.knobs
    if knobs.dynamic or knobs.max_batch_size <= 1 or worked.busy < _BUSY * unit.mark(case):
        return None
    then = BatchingKnobs(knobs.max_batch_size)
    line = onward(unit.sums, unit.instances, knobs.max_batch_size)
    if line is not None:
        return unit.more(case, then, unit.per_s(BatchLine(0.0, worked.execution_s, 1)), line)
    # Nothing tells what batches give. Where requests wait for each other there is something to be had.
    waits = worked.queue_s >= _MOST * unit.mark(case) * worked.mean_s
    alone = worked.sizes[-1][0] == 1
    return BatchingAdvice(case, knobs, then, worked, None) if waits and alone else None


def _preferred_unreached(unit: _Unit) -> BatchingAdvice | None:
    """No batch was as large as the smallest preferred size, so that each waited out the delay."""
    case, worked, knobs = BatchingCase.PREFERRED_UNREACHED, unit.worked, unit.knobs
    chosen = [size for size in knobs.preferred_sizes if size < knobs.max_batch_size]
    if not chosen or not _delays(knobs) or worked.sizes[-1][0] >= min(chosen):
        return None
    return unit.sooner(case) if worked.queue_s >= _MOST * unit.mark(case) * knobs.max_queue_delay_s else None


def _delay_too_long(unit: _Unit) -> BatchingAdvice | None:
    """Requests wait longer than they are computed, by the delay and not for instances, which are idle."""
    case, worked = BatchingCase.DELAY_TOO_LONG, unit.worked
    mark = unit.mark(case)
    waits = worked.queue_s >= _MOST * mark * worked.mean_s
    by_delay = worked.queue_s * mark <= _DELAYS_MAX * unit.knobs.max_queue_delay_s
    idle = worked.busy * mark <= _IDLE
    return unit.sooner(case) if _delays(unit.knobs) and idle and waits and by_delay else None


def _batch_limit(unit: _Unit) -> BatchingAdvice | None:
    """Most batches are full, and requests wait longer than they are computed."""
    case, worked, knobs = BatchingCase.BATCH_LIMIT, unit.worked, unit.knobs
    mark, size = unit.mark(case), knobs.max_batch_size
    full = sum(executions for executed, executions in worked.sizes if executed >= size)
    waits = worked.busy >= _BUSY * mark and worked.queue_s >= _MOST * mark * worked.mean_s
    if not knobs.dynamic or size <= 1 or not waits or full < _MOST * mark * worked.executions:
        return None
    line = onward(unit.sums, unit.instances, 2 * size)
    if line is None or line.max_batch < 2 * size:
        return None
    before_per_s = unit.per_s(replace(line, max_batch=size), knobs.max_queue_delay_s) / worked.items
    then = replace(knobs, max_batch_size=2 * size, preferred_sizes=tuple(s for s in knobs.preferred_sizes if s < size))
    return unit.more(case, then, before_per_s, line)


def _delays(knobs: BatchingKnobs) -> bool:
    return knobs.dynamic and knobs.max_queue_delay_s > 0


def onward(sums: Sequence[BatchSum], instances: int, largest: int) -> BatchLine | None:
    """The line of the nearest instance count at which two sizes were well seen, for batches up to `largest`.

    Its largest batch is at most twice the largest one seen; None where no two sizes were.
    """
    by_count: dict[int, list[BatchSum]] = {}
    for one in sums:
        if one.executions >= ENOUGH and one.compute_s > 0:
            by_count.setdefault(one.instances, []).append(one)
    known = [count for count, sizes in by_count.items() if len(sizes) > 1]
    if not known:
        return None
    own = sorted(by_count[min(known, key=lambda count: (abs(count - instances), count))], key=lambda s: s.size)
    service = curve(own, largest)
    if service is None:
        return None
    fit, (below, top) = service.line(instances), own[-2:]
    top_s = top.compute_s / top.executions
    step_s = (top_s - below.compute_s / below.executions) / (top.size - below.size)
    per_item_s = max(fit.per_item_s, step_s)
    fixed_s = max(0.0, max(fit.service_s(top.size), top_s) - per_item_s * top.size)
    return BatchLine(fixed_s, per_item_s, min(largest, 2 * top.size))
