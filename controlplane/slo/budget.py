"""From counts to a judgement: attainment, budget and burn rate, each a ratio of sums of events.

Time never weighs anything: the mean of ratios of short windows, which many rule generators record, is wrong by far
when traffic is uneven, and one window without traffic (0/0) spoils it altogether.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from controlplane.domain.objectives import Counts, Judgement, Objective, Slice


def total(slices: Iterable[Slice]) -> Counts:
    """The sum of slices of one objective."""
    good = bad = unsure = 0
    measured_s = expected_s = 0.0
    for part in slices:
        good, bad, unsure = good + part.good, bad + part.bad, unsure + part.unsure
        measured_s, expected_s = measured_s + part.measured_s, expected_s + part.expected_s
    return Counts(good, bad, unsure, measured_s, expected_s)


def judge(
    model: str, objective: Objective, window: Counts, *, burn_5m: Counts, burn_1h: Counts, burn_6h: Counts
) -> Judgement:
    """How `objective` stands, by the counts of its window and of the last 5 min, 1 h and 6 h.

    Unsure events count against the budget and the burn rates, as in the low attainment. The whole window was to be
    measured, also while nobody ran who could: slices that were never written count as unmeasured.
    """
    window = replace(window, expected_s=max(window.expected_s, objective.window_s))
    events = window.events
    spent = burn_rate(objective, window)
    return Judgement(
        model=model,
        objective=objective,
        window=window,
        attainment_low=window.good / events if events else None,
        attainment_high=(window.good + window.unsure) / events if events else None,
        budget_left=None if spent is None else 1.0 - spent,
        burn_5m=burn_rate(objective, burn_5m),
        burn_1h=burn_rate(objective, burn_1h),
        burn_6h=burn_rate(objective, burn_6h),
    )


def burn_rate(objective: Objective, counts: Counts) -> float | None:
    """Share of bad (and unsure) events over the share that the target allows; None without events.

    1 spends the budget exactly over the window (Google SRE workbook, chapter 5).
    """
    if counts.events == 0:
        return None
    return (counts.bad + counts.unsure) / counts.events / (1.0 - objective.target)
