"""Whether a new version of a model does what the old ones did: by its requests and probes beside theirs."""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.decide.demand import started_since
from controlplane.domain.observation import Interval, ProbeResult
from controlplane.domain.rollout import Rollout, Served

# Fewer failures may be chance, and so may a share that is not a multiple of what the old version had.
_FAILED_MIN = 3
_FAILED_MORE = 2.0
_FAILED_SHARE = 0.01
# A mean over fewer requests is ruled by the first ones, which are slow.
_TIMED_MIN = 50
_SLOWER = 1.5
_EQUAL_DEMAND = 1.25


def fault(memory: Rollout, intervals: Sequence[Interval], probes: Sequence[ProbeResult]) -> str:
    """What the new version does worse than the old ones did, since both serve; empty: nothing that is sure."""
    asked = [p for p in probes if p.at >= memory.since and p.version == memory.version]
    if len(asked) >= 2 and asked[-1].error and asked[-2].error:
        return f"two probes in a row failed: {asked[-1].error}"
    recent = started_since(intervals, memory.since)
    new, old = _of_version(memory.version, recent), memory.served
    failed = round(new.requests * new.failed_share)
    if failed >= _FAILED_MIN and new.failed_share > max(_FAILED_SHARE, _FAILED_MORE * old.failed_share):
        return f"{failed} of {new.requests} requests failed (before: {old.failed_share:.1%})"
    timed = new.requests >= _TIMED_MIN and old.requests >= _TIMED_MIN
    if not timed or new.mean_s is None or old.mean_s is None or new.per_s > _EQUAL_DEMAND * old.per_s:
        return ""
    if new.mean_s > _SLOWER * old.mean_s:
        return f"a request takes {new.mean_s * 1000:.1f} ms, and took {old.mean_s * 1000:.1f} ms at no less demand"
    return ""


def was_seen(memory: Rollout, intervals: Sequence[Interval], probes: Sequence[ProbeResult]) -> bool:
    """Whether anything tells that the new version answers: nothing seen is no proof."""
    probed = any(p.at >= memory.since and p.version == memory.version and not p.error for p in probes)
    new = _of_version(memory.version, started_since(intervals, memory.since))
    return probed or new.requests * (1.0 - new.failed_share) >= 1


def _of_version(version: str, intervals: Sequence[Interval]) -> Served:
    length_s = sum(i.length_s for i in intervals)
    counts = [count for i in intervals for count in i.versions if count.version == version]
    requests = sum(c.completed - c.rejected - c.canceled for c in counts)
    return _summed(requests, sum(c.failed for c in counts), sum(c.request_s for c in counts), length_s)


def served(intervals: Sequence[Interval], since: float) -> Served:
    """How a model did since a moment, all of its versions together."""
    recent = started_since(intervals, since)
    requests = sum(i.completed - i.rejected - i.canceled for i in recent)
    length_s = sum(i.length_s for i in recent)
    return _summed(requests, sum(i.failed for i in recent), sum(i.request_s for i in recent), length_s)


def _summed(requests: int, failed: int, request_s: float, length_s: float) -> Served:
    answered = requests - failed
    return Served(
        requests,
        requests / length_s if length_s > 0 else 0.0,
        failed / requests if requests > 0 else 0.0,
        request_s / answered if answered > 0 else None,
    )
