"""The error budget is the throttle: it sets which quantile of demand capacity must serve."""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.decide.policy import Policy
from controlplane.domain.objectives import Indicator, Judgement

_CAPACITY_EXPLAINS = (
    Indicator.LATENCY,
    Indicator.TTFT,
    Indicator.INTER_TOKEN_LATENCY,
    Indicator.E2E,
    Indicator.QUEUE_TIME,
)
# Burn rate (multiples of the sustainable one) at which the burning quantile is reached in full: the workbook's 6 h
# page.
_FULL_BURN = 6.0


def quantile(judgements: Sequence[Judgement], policy: Policy) -> tuple[float, float]:
    """(quantile of demand to serve, burn rate it rests on), between the policy's normal and burning quantiles.

    The worst objective counts. A burn must show in the last five minutes and in the last hour: the hour alone would
    hold capacity long after the trouble, the minutes alone would chase noise. Availability does not count: errors
    of a bad release or a dead backend are not mended by more instances.
    """
    burn = max(
        (
            min(j.burn_5m, j.burn_1h)
            for j in judgements
            if j.objective.indicator in _CAPACITY_EXPLAINS and j.burn_5m is not None and j.burn_1h is not None
        ),
        default=0.0,
    )
    share = min(1.0, max(0.0, (burn - 1.0) / (_FULL_BURN - 1.0)))
    return policy.quantile_normal + share * (policy.quantile_burning - policy.quantile_normal), burn
