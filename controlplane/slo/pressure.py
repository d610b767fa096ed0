"""When a model was short of capacity: only what went bad then may later buy capacity.

A bad release or a dead backend fails requests however much capacity there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from controlplane.domain.observation import Interval
from controlplane.slo.cover import Grid, overlaps

_WAITED_SHARE = 0.5
"""Requests that spent this part of their time waiting, and not being served, waited for capacity."""
_FAILING_SHARE = 0.1
"""A backend that fails this part of its requests makes its own queue: a dead stub holds each failing batch a second."""

Spans = Sequence[tuple[float, float]]


def waited(interval: Interval) -> bool:
    """Whether requests waited for capacity: for half of their time, or more of them at its end than can be served.

    Not behind a backend that fails: what waits there waits for its repair. The time of failed requests is not in
    `request_s`.
    """
    if interval.failed_backend > _FAILING_SHARE * interval.completed:
        return False
    if interval.queue_s > 0 and interval.queue_s >= _WAITED_SHARE * interval.request_s:
        return True
    pending, room = interval.pending_end, interval.running_max
    return pending is not None and room is not None and room > 0 and pending > room


def pressed(grid: Grid, intervals: Iterable[Interval], strained: Spans) -> list[bool]:
    """Which slices hold any time of an interval in which requests waited, or of `strained`.

    `strained` are times in which demand was near capacity, by decisions.
    """
    spans = [(interval.start, interval.end) for interval in intervals if waited(interval)]
    return [seconds > 0 for seconds in overlaps(grid, [*spans, *strained])]
