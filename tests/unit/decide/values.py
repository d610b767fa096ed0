"""Values to decide on."""

from __future__ import annotations

from controlplane.domain.observation import BatchCount, Interval


def an_interval(start: float, end: float, completed: int = 0, **changes: object) -> Interval:
    fields: dict[str, object] = {
        "failed": 0,
        "failed_backend": 0,
        "rejected": 0,
        "canceled": 0,
        "request_s": 0.0,
        "queue_s": 0.0,
        "pending_start": 0,
        "pending_end": 0,
        "running_max": 8,
        "instances": 1,
    }
    return Interval(start=start, end=end, completed=completed, **(fields | changes))  # type: ignore[arg-type]


def executed(size: int, executions: int, fixed_s: float, per_item_s: float) -> BatchCount:
    return BatchCount(size, executions, executions * (fixed_s + per_item_s * size))
