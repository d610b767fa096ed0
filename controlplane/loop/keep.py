"""How long readings are kept in memory. History is the store's."""

from __future__ import annotations

from controlplane.decide.policy import Policy

_LEAST_S = 300.0


def keep_s(decide_s: float, policy: Policy, grace_s: float = 0.0) -> float:
    """Seconds for which intervals, latencies and probe results are kept.

    Decisions look back a minute at most, longer only where readings count as recent for longer or an effect is judged
    later. What slices are closed from (`grace_s` after their end at the latest) and services are learned from must
    outlast ticks that are late or left out: a store that does not answer holds one up for a minute.
    """
    return max(_LEAST_S, 4 * decide_s, 2 * policy.data_max_age_s, 2 * policy.settle_s, 2 * grace_s)
