"""Start-up times learned from the start-ups that were seen, and from an assumption until there are ten of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from controlplane.domain.decision import Step
from controlplane.domain.startups import REPLICA, Knob, Startup, StartupTimes

LEARNED_AFTER = 10
"""With so many start-ups nothing is assumed any more: the fewest by which a tenth of them can be told."""
ASSUMED_S: Mapping[str, float] = {
    Step.SET_INSTANCES.value: 30.0,
    Step.LOAD.value: 120.0,
    Step.RELOAD.value: 120.0,
    REPLICA: 300.0,
}
"""What a start-up is taken to last before it was seen: rather too long, so that nobody counts on it in vain."""


def startup_times(startups: Sequence[Startup], assumed_s: float) -> StartupTimes:
    """Quantiles of the next start-up by those seen, each taken at its upper bound.

    Fewer than LEARNED_AFTER are filled up with `assumed_s`. Of n values the k-th smallest, k = ceil(q (n + 1)), is
    not exceeded by the next one with a probability of at least q, whatever their distribution, as long as they come in
    no particular order (Vovk, Gammerman, Shafer: Algorithmic Learning in a Random World, 2005; Lei et al.:
    Distribution-Free Predictive Inference for Regression, 2018, section 2).
    """
    assumed = max(0, LEARNED_AFTER - len(startups))
    values = sorted([startup.seconds for startup in startups] + [assumed_s] * assumed)
    return StartupTimes(len(startups), assumed, _quantile(values, 0.5), _quantile(values, 0.9))


def _quantile(values: Sequence[float], q: float) -> float:
    """The quantile of the next value; there are enough of them for q up to n / (n + 1)."""
    return values[math.ceil(q * (len(values) + 1)) - 1]


def by_knob(startups: Sequence[Startup]) -> dict[Knob, StartupTimes]:
    """What is learned of each workload's knobs that were seen to start something."""
    knobs: dict[Knob, list[Startup]] = {}
    for startup in startups:
        knobs.setdefault((startup.workload, startup.knob), []).append(startup)
    return {key: startup_times(seen, ASSUMED_S.get(key[1], ASSUMED_S[REPLICA])) for key, seen in sorted(knobs.items())}
