"""What went through the servers of a workload in a window, summed up from each one's own readings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from controlplane.domain.observation import Interval

# Readings are cut at their own moments.
_CUT_S = 0.5


@dataclass(frozen=True, slots=True)
class Flow:
    """Sums over the servers that told something of the window, each as the mean of what it told.

    `arrivals_per_s`: requests taken in. `prompt_per_s`, `generation_per_s`: tokens computed, 0 where none are counted.
    `running`, `waiting`: requests in the batch and before it, on average. `servers`: how many told something.
    """

    servers: int
    arrivals_per_s: float
    prompt_per_s: float
    generation_per_s: float
    running: float
    waiting: float


def flow(servers: Iterable[Sequence[Interval]], since: float) -> Flow:
    """What intervals that end after `since` tell."""
    told = 0
    sums = [0.0] * 5
    for intervals in servers:
        own = [i for i in intervals if i.end > since + _CUT_S]
        length_s = sum(i.length_s for i in own)
        if length_s <= 0:
            continue
        told += 1
        for index, value in enumerate(_sums(own)):
            sums[index] += value / length_s
    return Flow(told, *(max(0.0, value) for value in sums))


def _sums(own: Sequence[Interval]) -> Iterator[float]:
    yield sum(arrivals(i) for i in own)
    yield sum((i.tokens.prompt or 0) if i.tokens else 0 for i in own)
    yield sum((i.tokens.generation or 0) if i.tokens else 0 for i in own)
    yield sum(running(i) * i.length_s for i in own)
    yield sum(_mean(i.pending_start, i.pending_end) * i.length_s for i in own)


def arrivals(interval: Interval) -> float:
    """Requests that came: those that ended and what those in the system grew by, own probes not counted."""
    grown = _change(interval.pending_start, interval.pending_end)
    grown += _change(interval.running_start, interval.running_end)
    return interval.completed - interval.probes + grown


def running(interval: Interval) -> float:
    """Requests that executed on average: by Little's law over the time between their tokens, which is exact.

    Else as the gauge tells at the ends, or by Little's law over their compute time where there is none.
    """
    if (between := between_tokens(interval)) is not None and interval.length_s > 0:
        return between[1] / interval.length_s
    if interval.running_start is None and interval.running_end is None:
        return max(0.0, interval.request_s - interval.queue_s) / interval.length_s if interval.length_s > 0 else 0.0
    return _mean(interval.running_start, interval.running_end)


def between_tokens(interval: Interval) -> tuple[int, float] | None:
    """Times between tokens and the seconds they took together; None where none was counted."""
    tokens = interval.tokens
    return (tokens.itl_count, tokens.itl_s) if tokens is not None and tokens.itl_count and tokens.itl_s else None


def stands_still(interval: Interval) -> bool:
    """Whether requests execute or wait and nothing moves: an old page, or a server that hangs. It tells no demand."""
    held = (interval.running_start or 0, interval.running_end or 0, interval.pending_start or 0)
    moved = interval.completed > 0 or interval.request_s > 0
    if interval.tokens is not None:
        moved = moved or bool(interval.tokens.generation) or bool(interval.tokens.prompt)
    return not moved and min(held[:2]) + held[2] > 0


def recent(
    servers: Mapping[str, Sequence[Interval]], now: float, max_age_s: float, *, by_tokens: bool = False
) -> dict[str, tuple[Interval, ...]]:
    """By server, the intervals that tell something, of those servers of which the newest does and is not too old.

    `by_tokens`: what does not count tokens tells nothing.
    """
    found: dict[str, tuple[Interval, ...]] = {}
    for name, intervals in servers.items():
        told = telling(intervals, by_tokens=by_tokens)
        if told and told[-1] is intervals[-1] and now - told[-1].end <= max_age_s:
            found[name] = told
    return found


def telling(intervals: Sequence[Interval], *, by_tokens: bool = False) -> tuple[Interval, ...]:
    """Those that tell what was done in them: none that stands still, nor the next one, which has all of that time."""
    still = [stands_still(interval) for interval in intervals]
    told = (i for n, i in enumerate(intervals) if not still[n] and not (n and still[n - 1]))
    return tuple(i for i in told if not by_tokens or _counts_tokens(i))


def _counts_tokens(interval: Interval) -> bool:
    tokens = interval.tokens
    return tokens is not None and tokens.prompt is not None and tokens.generation is not None


def _mean(start: int | None, end: int | None) -> float:
    known = [count for count in (start, end) if count is not None]
    return sum(known) / len(known) if known else 0.0


def _change(start: int | None, end: int | None) -> int:
    return 0 if start is None or end is None else end - start
