"""What people read about a decision."""

from __future__ import annotations

from controlplane.decide.explain import explain, headline, reason_text
from controlplane.domain.decision import (
    Action,
    ActionStatus,
    Decision,
    DecisionRecord,
    Effect,
    Outcome,
    Reason,
    ReasonCode,
    Step,
    Target,
    Verdict,
)
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import Mode

NOW = 1_700_000_000.0
RAISE = Decision(
    id="d-1",
    at=NOW,
    model="bert",
    server="t0",
    mode=Mode.ACT,
    step=Step.SET_INSTANCES,
    current=Target(loaded=True, instances=1),
    target=Target(loaded=True, instances=3),
    reasons=(
        Reason(ReasonCode.DEMAND, {"demand_per_s": 188.6, "low_per_s": 182.0, "high_per_s": 184.0}),
        Reason(ReasonCode.CAPACITY, {"capacity_per_s": 61.9, "instances": 1.0, "fixed_ms": 2.58, "per_item_ms": 13.69}),
        Reason(ReasonCode.DEMAND),
    ),
    binding=ReasonCode.DEMAND,
)
SEEN = (
    "seen:    1 instance; demand of 189/s to be held (seen: 182 to 184/s); "
    "1 instance holds 61.9/s (a batch of n takes 2.58 + 13.7 n ms)"
)
ACTION = Action("d-1", "bert", "t0", Step.SET_INSTANCES, Target(loaded=True, instances=3), NOW)


def test_a_raise_that_helped() -> None:
    outcome = Outcome(ACTION, ActionStatus.SUCCEEDED, NOW + 0.4, "from 1 to 3 instances", in_place=True)
    effect = Effect("d-1", Verdict.HELPED, NOW + 20, 60.4, 182.0)
    assert explain(DecisionRecord(RAISE, NOW, 0, (outcome,), effect)) == (
        "bert on t0, 2023-11-14 22:13:20 UTC, mode act (d-1)",
        SEEN,
        "decided: 1 -> 3 instances",
        "bound:   demand of 189/s to be held (seen: 182 to 184/s)",
        "done:    set_instances succeeded after 0.4 s, in place: from 1 to 3 instances",
        "effect:  helped: throughput 60.4/s before, 182/s after",
    )


def test_a_raise_that_ran_out_of_memory_tells_the_remedy() -> None:
    outcome = Outcome(ACTION, ActionStatus.FAILED, NOW + 2, "out of memory", FailureClass.OUT_OF_MEMORY, "use fewer")
    lines = explain(DecisionRecord(RAISE, NOW, 0, (outcome,)))
    assert lines[-1] == "done:    set_instances failed after 2.0 s: out of memory [cuda_out_of_memory; use fewer]"


def test_every_code_has_words_and_none_shows_a_leftover() -> None:
    for code in ReasonCode:
        text = reason_text(Reason(code))
        assert text
        assert not set("{}_") & set(text)


def test_the_headline_says_the_step_and_what_settled_it() -> None:
    assert headline(RAISE) == "1 -> 3 instances: demand of 189/s to be held (seen: 182 to 184/s)"
