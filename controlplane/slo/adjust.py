"""What people's corrections make of the counts of a window."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from controlplane.domain.history import Adjustment, AdjustmentKind
from controlplane.domain.objectives import Counts

CountsOf = Callable[[float, float], Counts]
"""The sum of an objective's slices that start in [since, until)."""


def in_force(adjustments: Iterable[Adjustment], model: str, objective: str) -> tuple[Adjustment, ...]:
    """Those that hold for an objective of a model and were not withdrawn, in the order they were made."""
    found = sorted(adjustments, key=lambda a: a.at)
    withdrawn = {a.withdraws for a in found if a.kind is AdjustmentKind.WITHDRAW}
    return tuple(
        a
        for a in found
        if a.kind is not AdjustmentKind.WITHDRAW
        and a.id not in withdrawn
        and a.model in {"", model}
        and a.objective in {"", objective}
    )


def adjusted(counts_of: CountsOf, since: float, until: float, adjustments: Sequence[Adjustment]) -> Counts:
    """The counts of [since, until) as `adjustments` (in force, of this objective) have them.

    Excluded time counts nothing and was not expected to be measured. Bad events are not taken back beyond those that
    there are.
    """
    counts = counts_of(since, until)
    if not adjustments:
        return counts
    for start, end in _excluded(adjustments, since, until):
        counts = _less(counts, counts_of(start, end))
    bad = max(0, counts.bad + corrected(adjustments, since, until))
    return replace(counts, bad=bad, bad_capacity=min(bad, counts.bad_capacity))


def corrected(adjustments: Sequence[Adjustment], since: float, until: float) -> int:
    """Bad events of [since, until) that people added or took back (negative).

    They belong to the end of their time, so that they leave a rolling window with it; where that is excluded they count
    nothing, as what they correct counts nothing.
    """
    excluded = _excluded(adjustments, since, until)
    return sum(
        a.bad
        for a in adjustments
        if a.kind is AdjustmentKind.EVENTS
        and since < a.end <= until
        and not any(start < a.end <= end for start, end in excluded)
    )


def excluded_s(adjustments: Sequence[Adjustment], since: float, until: float) -> float:
    """Seconds of [since, until) that do not count."""
    return sum(end - start for start, end in _excluded(adjustments, since, until))


def _excluded(adjustments: Iterable[Adjustment], since: float, until: float) -> list[tuple[float, float]]:
    """Excluded times within the window, joined where they overlap, so that nothing is taken away twice."""
    spans = sorted(
        (max(since, a.start), min(until, a.end))
        for a in adjustments
        if a.kind is AdjustmentKind.EXCLUDE and a.start < until and a.end > since
    )
    joined: list[tuple[float, float]] = []
    for start, end in spans:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _less(counts: Counts, excluded: Counts) -> Counts:
    return Counts(
        max(0, counts.good - excluded.good),
        max(0, counts.bad - excluded.bad),
        max(0, counts.unsure - excluded.unsure),
        max(0.0, counts.measured_s - excluded.measured_s),
        max(0.0, counts.expected_s - excluded.expected_s),
        max(0, counts.bad_capacity - excluded.bad_capacity),
    )
