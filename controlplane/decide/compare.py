"""What was recommended beside what came: a recommendation that was shown only, looked at once its time has passed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from controlplane.domain.decision import Decision, DecisionRecord, ReasonCode, Step
from controlplane.domain.objectives import Counts

LEAST_S = 300.0
"""After so many seconds at the earliest: a moment of load is no ground to judge by."""


# Decisions come every few seconds; of one older than this before the end nothing is known then.
_GAP_S = 120.0


class Came(StrEnum):
    """How a recommendation turned out, by what was there and what was wanted at its end."""

    FOLLOWED = "followed"
    """So many were there: somebody did it."""
    SHORT = "short"
    """Fewer were there than were wanted then."""
    SPARE = "spare"
    """More were there than were wanted then."""
    PASSED = "passed"
    """What was there was what was wanted by then: the need had passed."""
    UNKNOWN = "unknown"
    """It is not known what was there."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A recommendation and what was at `until`, when its horizon had passed.

    `was` are the instances or replicas there, `wanted` those that the decision of that moment wanted, `most_wanted` the
    most that any decision meanwhile did; None: not known. `demand_per_s` is the highest demand that decisions told of
    meanwhile (of a workload its arrivals). `attainment` by model and objective is good events of those counted in the
    time; None where none were: no traffic is not 100 %.
    """

    decision: Decision
    until: float
    was: int | None
    wanted: int | None
    most_wanted: int | None
    demand_per_s: float | None
    attainment: Mapping[tuple[str, str], float | None]

    @property
    def came(self) -> Came:
        """How it turned out."""
        target = self.decision.target
        if self.was is None or self.wanted is None or target is None:
            return Came.UNKNOWN
        if self.was == target.instances:
            return Came.FOLLOWED
        if self.was == self.wanted:
            return Came.PASSED
        return Came.SHORT if self.was < self.wanted else Came.SPARE


def is_recommendation(decision: Decision) -> bool:
    """Whether it is another count that was shown only."""
    return decision.step in (Step.SET_INSTANCES, Step.SCALE) and not decision.actionable


def horizon_s(decision: Decision) -> float:
    """Seconds after which it is compared: as far as it looked ahead, and not at once."""
    ahead = (reason.numbers.get("lead_s", 0.0) for reason in decision.reasons if reason.code is ReasonCode.DEMAND_AHEAD)
    return max(LEAST_S, *ahead, 0.0)


def compare(
    record: DecisionRecord, later: Sequence[DecisionRecord], counts: Mapping[tuple[str, str], Counts], now: float
) -> Comparison | None:
    """The comparison; None while its time has not passed.

    `later` are the decisions of the same unit that followed until then, oldest first; `counts` the events of the time
    by model and objective. Where nothing was decided shortly before the end, what was there is not known.
    """
    decision = record.decision
    until = decision.at + horizon_s(decision)
    if until > now:
        return None
    told = [record, *later]
    last = told[-1]
    known = last.last_at >= until - _GAP_S
    current, target = last.decision.current, last.decision.target
    targets = [one.decision.target.instances for one in told if one.decision.target is not None]
    demands = [demand for one in told if (demand := _demand_per_s(one.decision)) is not None]
    return Comparison(
        decision,
        until,
        current.instances if known and current is not None else None,
        target.instances if known and target is not None else None,
        max(targets, default=None),
        max(demands, default=None),
        {key: _share(sums) for key, sums in counts.items()},
    )


def in_words(comparison: Comparison) -> str:
    """One line: what was there, what was wanted, and how objectives were attained meanwhile."""
    what = "replicas" if comparison.decision.step is Step.SCALE else "instances"
    minutes = (comparison.until - comparison.decision.at) / 60
    was = "an unknown number of" if comparison.was is None else str(comparison.was)
    parts = [f"{_CAME[comparison.came]}: after {minutes:.0f} min {was} {what} were there"]
    if comparison.wanted is not None:
        parts.append(f"{comparison.wanted} were wanted then, at most {comparison.most_wanted} meanwhile")
    shares = [
        f"{objective} of {model} {'had no events' if share is None else f'{100 * share:.2f} %'}"
        for (model, objective), share in comparison.attainment.items()
    ]
    return "; ".join([*parts, *shares])


_CAME: Mapping[Came, str] = {
    Came.FOLLOWED: "followed",
    Came.SHORT: "not followed, and short",
    Came.SPARE: "not followed, and some to spare",
    Came.PASSED: "not followed, and the need passed",
    Came.UNKNOWN: "not known",
}


def _demand_per_s(decision: Decision) -> float | None:
    for reason in decision.reasons:
        if reason.code is ReasonCode.DEMAND:
            return reason.numbers.get("demand_per_s")
        if reason.code is ReasonCode.REPLICA_DEMAND:
            return reason.numbers.get("arrivals_per_s")
    return None


def _share(counts: Counts) -> float | None:
    counted = counts.good + counts.bad
    return counts.good / counted if counted else None
