"""Health by traffic: a dead python stub keeps its model READY, so only failing requests show it.

Source: Triton 2.51, python backend: after its stub process dies every request fails with "Stub process ... is not
healthy", one second after it was taken up (so that a dead instance among others fails only one batch a second), /ready
answers 200, a plain load changes nothing, and only a full reload heals.
"""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.decide.demand import started_since
from controlplane.decide.policy import Policy
from controlplane.domain.observation import Interval

_LOOK_BACK_S = 30.0
_DEAD_SHARE = 0.2
# A little less than the second that the python backend waits for a stub.
_STUB_WAIT_S = 0.9
_SLOWER = 2.0


def dead_backend(intervals: Sequence[Interval], policy: Policy, since: float, now: float) -> tuple[int, float] | None:
    """(failures, share of the requests) when the backend fails as a dead one does, else None.

    At least `heal_after_failures` requests failed in the backend since `since` (the last action) and within the last
    half minute, and either none succeeded since, or they are at least a fifth of all, or each took as long as a dead
    stub lets it take.
    """
    recent = started_since(intervals, max(since, now - _LOOK_BACK_S))
    failures = sum(i.failed_backend for i in recent)
    completed = sum(i.completed for i in recent)
    if failures < policy.heal_after_failures:
        return None
    none_succeeded = _in_a_row(recent) >= policy.heal_after_failures
    if not none_succeeded and failures < _DEAD_SHARE * completed and not _slow_failures(recent):
        return None
    return failures, failures / max(1, completed)


def _in_a_row(intervals: Sequence[Interval]) -> int:
    """Failures in the backend since the newest interval with a success."""
    count = 0
    for interval in reversed(intervals):
        if interval.completed > interval.failed + interval.rejected + interval.canceled:
            break
        count += interval.failed_backend
    return count


def _slow_failures(intervals: Sequence[Interval]) -> bool:
    """Whether failing took, beyond waiting in the queue, as long as a dead stub takes and longer than succeeding."""
    slow = [(i.failed_backend, i.failure_s) for i in intervals if i.failure_s is not None]
    failed = sum(count for count, _ in slow)
    succeeded = sum(i.completed - i.failed - i.rejected - i.canceled for i in intervals)
    if failed == 0 or succeeded == 0:
        return False
    queue_s = sum(i.queue_s for i in intervals) / succeeded
    works_s = sum(i.request_s for i in intervals) / succeeded - queue_s
    fails_s = sum(count * failure_s for count, failure_s in slow) / failed - queue_s
    return fails_s >= max(_STUB_WAIT_S, _SLOWER * works_s)
