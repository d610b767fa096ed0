"""Health by traffic: a dead python stub keeps its model READY, so only failing requests show it.

Source: Triton 2.51, python backend: after its stub process dies every request fails with "Stub process ... is not
healthy", /ready answers 200, a plain load changes nothing, and only a full reload heals.
"""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.decide.policy import Policy
from controlplane.domain.observation import Interval

_LOOK_BACK_S = 30.0
_DEAD_SHARE = 0.2


def dead_backend(intervals: Sequence[Interval], policy: Policy, since: float, now: float) -> tuple[int, float] | None:
    """(failures, share of the requests) when the backend fails as a dead one does, else None.

    At least `heal_after_failures` requests failed in the backend since `since` (the last action) and within the last
    half minute, and they are at least a fifth of all: one dead instance of a few fails its own share only.
    """
    recent = [i for i in intervals if i.start >= max(since, now - _LOOK_BACK_S)]
    failures = sum(i.failed_backend for i in recent)
    completed = sum(i.completed for i in recent)
    if failures < policy.heal_after_failures or failures < _DEAD_SHARE * completed:
        return None
    return failures, failures / max(1, completed)
