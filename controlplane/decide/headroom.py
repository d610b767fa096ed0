"""The error budget is the throttle: it sets which quantile of demand capacity must serve."""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.decide.policy import Policy
from controlplane.domain.objectives import Judgement

# Burn rate (multiples of the sustainable one) at which the burning quantile is reached in full: the workbook's 6 h
# page.
_FULL_BURN = 6.0
# A budget that is nearly or wholly spent makes a burn count for so many times what it is at most.
_MOST_WEIGHT = 4.0


def quantile(judgements: Sequence[Judgement], policy: Policy) -> tuple[float, float]:
    """(quantile of demand to serve, burn rate it rests on), between the policy's normal and burning quantiles.

    The worst objective counts, by the bad events that capacity explains: those of a bad release or a dead backend are
    not mended by more instances. A burn must show in the last five minutes and in the last hour: the hour alone would
    hold capacity long after the trouble, the minutes alone would chase noise. It weighs the more the less budget is
    left; a spent budget alone, without a burn, holds nothing.
    """
    burn = max((_burn(judgement) for judgement in judgements), default=0.0)
    held = policy.quantile_normal + _burning(burn) * (policy.quantile_burning - policy.quantile_normal)
    return held, burn


def _burning(burn: float) -> float:
    """How much of the way to the burning quantile a burn rate goes, 0 to 1."""
    return min(1.0, max(0.0, (burn - 1.0) / (_FULL_BURN - 1.0)))


def slow_quantile(judgements: Sequence[Judgement], target: float, policy: Policy) -> float:
    """The quantile for capacity that comes minutes after it was asked for, under an objective of `target`.

    Demand that outgrows it is badly served until more is there, so the share of time in which it does is the share of
    the requests that may be bad, times the burn that is planned: at most 1 by default. The more the budget burns beyond
    what was planned, the less is, down to a tenth. Continuous, and within 0.5 to 0.999.
    """
    _, burn = quantile(judgements, policy)
    planned: float = policy.planned_burn * 0.1 ** _burning(burn / max(1.0, policy.planned_burn))
    return min(0.999, max(0.5, 1 - planned * (1 - target)))


def _burn(judgement: Judgement) -> float:
    """The burn rate as a multiple of the one that what is left of the budget can bear; 0 where it is not known."""
    recent, hour, left = judgement.capacity_burn_5m, judgement.capacity_burn_1h, judgement.budget_left
    if recent is None or hour is None:
        return 0.0
    return min(recent, hour) / max(1.0 / _MOST_WEIGHT, min(1.0, 1.0 if left is None else left))
