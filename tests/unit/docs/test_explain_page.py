"""The page about `explain` shows what `explain` says."""

from __future__ import annotations

import re
from dataclasses import replace

from controlplane.decide.advising import reason
from controlplane.decide.batching import BatchingAdvice, Gain, Worked
from controlplane.decide.explain import _TEXT, _VARIANTS, explain
from controlplane.domain.batching import BatchingCase, BatchingKnobs
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
from controlplane.domain.fleet import Mode
from tests.unit.docs.pages import ROOT, read

PAGE = read(ROOT / "docs/how-to/explain.md")
AT = 1795330558.0
ONE, TWO = Target(loaded=True, instances=1), Target(loaded=True, instances=2)


def record() -> DecisionRecord:
    demand = Reason(ReasonCode.DEMAND, {"demand_per_s": 105.0, "low_per_s": 96.2, "high_per_s": 99.4})
    learned = {"instances": 1.0, "capacity_per_s": 62.2, "fixed_ms": 3.48, "per_item_ms": 13.9}
    reasons = (demand, Reason(ReasonCode.CAPACITY, learned), Reason(ReasonCode.DEMAND))
    decision = Decision(
        id="d-963177fe5009",
        at=AT,
        model="bert_classifier",
        server="triton",
        mode=Mode.ACT,
        step=Step.SET_INSTANCES,
        current=ONE,
        target=TWO,
        reasons=reasons,
        binding=ReasonCode.DEMAND,
    )
    action = Action(decision.id, decision.model, decision.server, Step.SET_INSTANCES, TWO, AT)
    done = "from 1 to 2 instances, in place"
    outcome = Outcome(action, ActionStatus.SUCCEEDED, AT + 0.2, done, in_place=True)
    effect = Effect(decision.id, Verdict.HELPED, AT + 8, 60.4, 137.0)
    return DecisionRecord(decision, AT, 0, (outcome,), effect)


def test_the_example_is_what_explain_prints() -> None:
    assert PAGE.blocks("") == ["\n".join(explain(record())) + "\n"]


def advice() -> Reason:
    gain = Gain(37.503, 142.03, 0.5113, 0.0273)
    worked = Worked(7.1, 46.7, 0.5113, 0.49, 1.3, 0.996, ((1, 297), (4, 33)), 0.0213)
    knobs = BatchingKnobs(8, dynamic=False)
    return reason(BatchingAdvice(BatchingCase.UNBATCHED, knobs, BatchingKnobs(8), worked, gain))


def test_the_advice_is_what_explain_prints() -> None:
    decision = record().decision
    told = replace(decision, reasons=(*decision.reasons, advice()))
    assert PAGE.blocks("text") == [explain(replace(record(), decision=told))[-1] + "\n"]


def test_every_reason_listed_is_one_that_is_said() -> None:
    said = " | ".join([*_TEXT.values(), *_VARIANTS.values()])
    listed = PAGE.prose.partition("Often met")[2]
    for phrases in re.findall(r"^\| (`[^|]+`) \|", listed, re.MULTILINE):
        for phrase in re.findall(r"`([^`]+)`", phrases):
            for part in re.split(r"\.\.\.|\bN\b", phrase):
                assert part.strip() in said, phrase
