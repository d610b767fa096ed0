"""From counts to a judgement: attainment, budget and burn rate, each a ratio of sums of events.

Time never weighs anything: the mean of ratios of short windows, which many rule generators record, is wrong by far
when traffic is uneven, and one window without traffic (0/0) spoils it altogether.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from controlplane.domain.objectives import Counts, Judgement, Objective, Slice
from controlplane.slo.window import window_of


def total(slices: Iterable[Slice]) -> Counts:
    """The sum of slices of one objective."""
    good = bad = unsure = bad_capacity = 0
    measured_s = expected_s = 0.0
    for part in slices:
        good, bad, unsure = good + part.good, bad + part.bad, unsure + part.unsure
        measured_s, expected_s = measured_s + part.measured_s, expected_s + part.expected_s
        bad_capacity += part.bad_capacity
    return Counts(good, bad, unsure, measured_s, expected_s, bad_capacity)


def judge(
    model: str,
    objective: Objective,
    counts: Counts,
    *,
    burn_5m: Counts,
    burn_1h: Counts,
    burn_6h: Counts,
    now: float = 0.0,
    excluded_s: float = 0.0,
) -> Judgement:
    """How `objective` stands at `now`, by the counts of its window so far and of the last 5 min, 1 h and 6 h.

    Unsure events count against the budget and the burn rates, as in the low attainment. The whole window up to now was
    to be measured but for `excluded_s` seconds of it, also while nobody ran who could: slices that were never written
    count as unmeasured.
    """
    window = window_of(objective, now)
    so_far_s = min(now, window.end) - window.since
    counts = replace(counts, expected_s=max(counts.expected_s, so_far_s - excluded_s))
    events = counts.events
    spent = burn_rate(objective, counts)
    # of the budget of the whole window, where its rest brings as many events
    left = None if spent is None else 1.0 - spent * so_far_s / window.length_s
    slow, slower = burn_rate(objective, burn_1h), burn_rate(objective, burn_6h)
    return Judgement(
        model=model,
        objective=objective,
        window=counts,
        attainment_low=counts.good / events if events else None,
        attainment_high=(counts.good + counts.unsure) / events if events else None,
        budget_left=None if spent is None else 1.0 - spent,
        burn_5m=burn_rate(objective, burn_5m),
        burn_1h=slow,
        burn_6h=slower,
        capacity_burn_5m=capacity_burn(objective, burn_5m),
        capacity_burn_1h=capacity_burn(objective, burn_1h),
        exhausted_1h_s=exhausted_s(left, slow, window.length_s, window.end - now),
        exhausted_6h_s=exhausted_s(left, slower, window.length_s, window.end - now),
    )


def burn_rate(objective: Objective, counts: Counts) -> float | None:
    """Share of bad (and unsure) events over the share that the target allows; None without events.

    1 spends the budget exactly over the window (Google SRE workbook, chapter 5).
    """
    if counts.events == 0:
        return None
    return (counts.bad + counts.unsure) / counts.events / (1.0 - objective.target)


def capacity_burn(objective: Objective, counts: Counts) -> float | None:
    """The burn rate by bad events that capacity explains; None without events."""
    return None if counts.events == 0 else counts.bad_capacity / counts.events / (1.0 - objective.target)


def exhausted_s(
    budget_left: float | None, burn: float | None, window_s: float, rest_s: float | None = None
) -> float | None:
    """Seconds until the budget is spent at a burn rate; 0 where it is. None: not burning, or it outlasts the window.

    A burn rate of 1 spends the whole budget in one window (Google SRE workbook, chapter 5). `rest_s` are the seconds
    until a calendar window ends; a rolling one never does, but what leaves it gives some back, so that this is the
    soonest.
    """
    if budget_left is None or not burn:
        return None
    lasts_s = max(0.0, budget_left) / burn * window_s
    return lasts_s if lasts_s < (rest_s or window_s) else None
