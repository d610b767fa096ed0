"""The numbers that a team may turn to make scaling bolder or calmer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """How boldly capacity follows demand. Durations are seconds, quantiles and shares fractions in (0, 1)."""

    scale_down_after_s: float = 300.0
    """Dwell: fewer instances only after fewer were enough for this long."""
    max_step_up: int = 4
    """Most instances added by one decision; doubling is always allowed."""
    backlog_drain_s: float = 30.0
    """Time in which requests that wait now should have been served."""
    blind_raise_after_s: float = 300.0
    """After this long without data the count may be raised to a safe floor; it is never lowered."""
    settle_s: float = 20.0
    """Time from an action to the judgement of its effect."""
    ceiling_s: float = 1800.0
    """How long it is believed that more instances give no more throughput, or fail, once seen; twice as long each
    further time in a row, eight times at most."""
    heal_after_failures: int = 3
    """Failed inferences in a row, without one success, after which a backend counts as dead and is reloaded."""
    back_off_min_s: float = 15.0
    """Wait after a first failed action; doubles with each further one."""
    back_off_max_s: float = 600.0
    """Longest wait after failed actions."""
    quantile_normal: float = 0.90
    """Quantile of demand that capacity must serve while the error budget is not burning, or is unknown."""
    quantile_burning: float = 0.99
    """The same while the error budget burns."""
    planned_burn: float = 1.0
    """Of replicas: burn rate of the error budget that is planned for while it does not burn. Less is safer, more costs
    less and spends the budget before its window ends."""
    replicas_down_after_s: float = 75.0
    """Dwell of replicas: fewer only after fewer were enough for this long."""
    data_max_age_s: float = 30.0
    """Readings older than this are no ground for a decision."""
    horizon_s: float = 16.0
    """How far ahead demand is looked at: the decision interval and the second until an instance is there."""
    changes_per_min: int = 30
    """Most steps begun within a minute, over the whole fleet; what people ask for is not held back."""
    max_share: float = 0.5
    """Largest share of the servers of a workload (or of those that are listed) that lose capacity at a time; one may
    always."""
    circuit_failures: int = 5
    """Steps in a row that found nobody at a server or workload, after which it is left alone for a while."""
    circuit_pause_s: float = 60.0
    """For how long, before one step tries; doubles with each that finds nobody, to `back_off_max_s`."""
