"""What was recommended beside what came."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.decide.compare import LEAST_S, Came, compare, horizon_s, in_words, is_recommendation
from controlplane.domain.decision import Decision, DecisionRecord, Reason, ReasonCode, Step, Target
from controlplane.domain.fleet import Mode
from controlplane.domain.objectives import Counts

NOW = 1_700_000_000.0
END = NOW + LEAST_S


def decided(
    at: float, was: int | None, wanted: int, demand_per_s: float = 40.0, step: Step = Step.SET_INSTANCES
) -> Decision:
    current = None if was is None else Target(loaded=True, instances=was)
    reasons = (Reason(ReasonCode.DEMAND, {"demand_per_s": demand_per_s}),)
    target = Target(loaded=True, instances=wanted)
    return Decision("d", at, "bert", "t0", Mode.RECOMMEND, step, current, target, reasons, ReasonCode.DEMAND)


def kept(decision: Decision, last_at: float) -> DecisionRecord:
    return DecisionRecord(decision, last_at, 3)


FIRST = kept(decided(NOW, 2, 4), NOW + 45)


@pytest.mark.parametrize(
    ("later", "came", "was", "wanted", "most"),
    [
        ([kept(decided(NOW + 60, 4, 4, step=Step.HOLD), END)], Came.FOLLOWED, 4, 4, 4),
        ([kept(decided(NOW + 60, 2, 6, 70.0), END)], Came.SHORT, 2, 6, 6),
        ([kept(decided(NOW + 60, 2, 5), NOW + 90), kept(decided(NOW + 105, 2, 2), END)], Came.PASSED, 2, 2, 5),
        ([kept(decided(NOW + 60, 2, 1), END - 10)], Came.SPARE, 2, 1, 4),
        ([kept(decided(NOW + 60, None, 4), END)], Came.UNKNOWN, None, 4, 4),
        ([kept(decided(NOW + 60, 2, 4), END - 200)], Came.UNKNOWN, None, None, 4),  # nothing decided since
        ([], Came.UNKNOWN, None, None, 4),
    ],
)
def test_what_was_there_at_the_end_is_compared_with_what_was_wanted_then(
    later: list[DecisionRecord], came: Came, was: int | None, wanted: int | None, most: int
) -> None:
    found = compare(FIRST, later, {}, END)
    assert found is not None
    assert (found.came, found.was, found.wanted, found.most_wanted) == (came, was, wanted, most)
    assert found.demand_per_s == max(40.0, *(r.decision.reasons[0].numbers["demand_per_s"] for r in later), 0.0)


def test_one_that_stood_all_the_time_is_short_by_itself() -> None:
    found = compare(kept(FIRST.decision, END + 500), [], {}, END + 500)
    assert found is not None
    assert found.came is Came.SHORT


def test_before_its_time_has_passed_nothing_is_compared() -> None:
    assert compare(FIRST, [], {}, END - 0.1) is None


def test_it_is_compared_as_far_ahead_as_it_looked() -> None:
    ahead = Reason(ReasonCode.DEMAND_AHEAD, {"lead_s": 900.0})
    assert horizon_s(FIRST.decision) == LEAST_S
    assert horizon_s(replace(FIRST.decision, reasons=(ahead,))) == 900.0
    assert horizon_s(replace(FIRST.decision, reasons=(Reason(ReasonCode.DEMAND_AHEAD),))) == LEAST_S


def test_attainment_without_events_is_none_and_the_words_say_so() -> None:
    counts = {("bert", "latency"): Counts(good=990, bad=10), ("bert", "ttft"): Counts()}
    found = compare(FIRST, [kept(decided(NOW + 60, 2, 6), END)], counts, END)
    assert found is not None
    assert found.attainment == {("bert", "latency"): 0.99, ("bert", "ttft"): None}
    assert in_words(found) == (
        "not followed, and short: after 5 min 2 instances were there; 6 were wanted then, at most 6 meanwhile; "
        "latency of bert 99.00 %; ttft of bert had no events"
    )


def test_only_counts_that_were_not_carried_out_are_recommendations() -> None:
    assert is_recommendation(FIRST.decision)
    assert is_recommendation(replace(FIRST.decision, step=Step.SCALE))
    for other in ({"mode": Mode.ACT}, {"by_person": True}, {"step": Step.HOLD}, {"step": Step.LOAD}):
        assert not is_recommendation(replace(FIRST.decision, **other))
