"""Advice on batching carried out: when, what came of it, and what is remembered."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.decide.explain import explain, headline, reason_text
from controlplane.decide.policy import Policy
from controlplane.decide.resume import resumed
from controlplane.decide.tuning import DWELL_S
from controlplane.domain.batching import BatchingCase, BatchingKnobs, BatchingUse, with_batching
from controlplane.domain.decision import DecisionRecord, ReasonCode, Step, Target, Verdict
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import Mode
from controlplane.domain.instructions import Freeze, FreezeDirection, Override, OverrideKind
from controlplane.domain.objectives import Indicator, IndicatorSource, Objective
from controlplane.domain.rollout import Rollout, RolloutPhase, Served
from controlplane.domain.state import UnitState
from controlplane.store.codec import POLICY_STATE
from tests.unit.decide.tuned import ALONE, BATCHED, NOW, SERVER, SPEC, Tuned

GIB = 2**30
TOLD_S = 300.0
SET_S = TOLD_S + DWELL_S + 60.0
YEAR_S = 365 * 86_400.0
FREEZE = Freeze("f", "m", FreezeDirection.NO_DOWN, "ada", "incident", NOW, NOW + YEAR_S)
PIN = Override("o", "m", OverrideKind.PIN, "ada", "demo", NOW, NOW + YEAR_S, instances=1)


def test_advice_that_stood_is_carried_out_once_and_stays() -> None:
    model = Tuned()
    wait = model.said(TOLD_S + DWELL_S - 90.0)
    assert wait is not None
    assert reason_text(wait) == "not carried out now: the advice has to stand (still 30 s)"
    assert not model.steps
    model.run(60.0)
    [step] = model.steps
    assert step.step is Step.CONFIGURE
    assert step.target == Target(loaded=True, instances=1, batching=BATCHED)
    assert step.binding is ReasonCode.BATCHING
    assert step.lowers
    assert headline(step).startswith(
        "other batching, by a full reload: turn on dynamic_batching, without a queue delay"
    )
    assert not any(line.startswith("advice") for line in explain(DecisionRecord(step, NOW, 0)))
    model.run(3600.0)
    assert model.steps == [step]
    assert [effect.verdict for effect in model.effects] == [Verdict.HELPED]
    assert (model.effects[0].before_per_s, model.effects[0].after_per_s) == (40.0, 100.0)


@pytest.mark.parametrize("spec", [replace(SPEC, batching=BatchingUse.ADVISE), replace(SPEC, mode=Mode.RECOMMEND)])
def test_without_both_words_it_is_only_told(spec: object) -> None:
    model = Tuned(spec=spec)  # type: ignore[arg-type]
    assert model.said(2 * SET_S) is None
    assert model.tick().step is Step.HOLD
    assert any(r.code is ReasonCode.BATCHING for r in model.tick().reasons)


def test_a_setting_under_which_throughput_falls_is_undone_and_not_tried_again_for_long() -> None:
    model = Tuned(batched_per_s=20.0)
    model.run(SET_S + 60.0)
    assert [s.binding for s in model.steps] == [ReasonCode.BATCHING, ReasonCode.UNDO]
    assert "(unbatched) did harm" in headline(model.steps[1])
    assert model.knobs == ALONE
    assert [effect.verdict for effect in model.effects] == [Verdict.HARMED]
    lines = explain(DecisionRecord(model.steps[0], NOW, 0, effect=model.effects[0]))
    assert "effect:  harm: throughput 40/s before, 20/s after, or requests took too long; undone" in lines
    model.run(Policy().ceiling_s - 300.0)
    assert len(model.steps) == 2
    wait = model.said(30.0)
    assert wait is not None
    assert wait.words["why"] == "it was tried and did not help"
    model.run(600.0)
    assert len(model.steps) == 4
    assert model.unit.refused[0].times == 2
    assert model.unit.refused[0].until - model.now > Policy().ceiling_s


def test_a_setting_under_which_requests_go_over_their_objective_is_undone() -> None:
    objective = Objective(Indicator.LATENCY, 0.5, 28 * 86_400.0, IndicatorSource.MEAN_SLICES, threshold_s=2.0)
    model = Tuned(spec=replace(SPEC, objectives=(objective,)), batched_s=3.0)
    model.run(SET_S + 60.0)
    assert [s.binding for s in model.steps] == [ReasonCode.BATCHING, ReasonCode.UNDO]


def test_clients_that_wait_for_answers_leave_no_backlog_and_yet_the_harm_is_seen() -> None:
    model = Tuned(batched_per_s=20.0, batched_s=2.0)
    while not model.steps:
        model.tick()
    model.waiting = 0
    model.run(90.0)
    assert model.steps[-1].binding is ReasonCode.UNDO


def test_less_demand_that_is_answered_sooner_is_no_harm() -> None:
    model = Tuned(batched_per_s=20.0, batched_s=0.05)
    while not model.steps:
        model.tick()
    model.waiting = 0
    model.run(90.0)
    assert model.effects[-1].verdict is Verdict.NOT_JUDGED
    assert model.knobs == BATCHED


def test_a_load_that_failed_is_remembered_for_that_change() -> None:
    model = Tuned(fails=FailureClass.OUT_OF_MEMORY)
    model.run(SET_S + 600.0)
    assert len(model.steps) == 1
    [refusal] = model.unit.refused
    assert (refusal.case, refusal.times) == (BatchingCase.UNBATCHED, 1)
    assert model.unit.tuning is None


def test_what_a_restarted_server_forgot_is_set_again_though_scaling_is_frozen() -> None:
    model = Tuned()
    model.run(SET_S + 600.0)
    model.freezes = (FREEZE,)
    model.restart()
    assert model.run(60.0).step is Step.HOLD
    assert model.steps[-1].binding is ReasonCode.RECONCILE
    assert model.knobs == BATCHED
    assert len(model.steps) == 2


def test_a_server_that_restarts_before_the_change_is_judged_does_not_get_it_again() -> None:
    model = Tuned()
    while not model.steps:
        model.tick()
    model.restart()
    model.run(120.0)
    assert len(model.steps) == 1
    assert model.unit.refused[0].case is BatchingCase.UNBATCHED


def test_what_somebody_else_configured_is_left_alone() -> None:
    model = Tuned()
    model.run(SET_S + 600.0)
    model.knobs = BatchingKnobs(8, max_queue_delay_s=0.001, preferred_sizes=(4,))
    model.tick()
    assert model.unit.tuning is None
    assert len(model.steps) == 1


def test_an_undo_that_was_not_carried_out_is_still_wanted_after_the_control_plane_came_back() -> None:
    model = Tuned(batched_per_s=20.0)
    while not model.steps:
        model.tick()
    model.takes = False
    model.run(300.0)
    assert {s.binding for s in model.steps[1:]} == {ReasonCode.UNDO}
    model.state = resumed(POLICY_STATE.load(POLICY_STATE.dump(model.state)), Policy(), model.now)
    model.takes = True
    model.run(60.0)
    assert model.knobs == ALONE


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"freezes": (FREEZE,)}, "ada froze scaling"),
        ({"overrides": (PIN,)}, "ada said pin"),
        (
            {"spec": replace(SPEC, memory_bytes=6 * GIB), "server": replace(SERVER, memory_bytes=10 * GIB)},
            "it does not fit there twice, as a reload needs",
        ),
    ],
)
def test_what_speaks_against_it_holds_it_and_is_told(changes: dict[str, object], why: str) -> None:
    model = Tuned(**changes)  # type: ignore[arg-type]
    wait = model.said(SET_S + 600.0)
    assert wait is not None
    assert wait.words["why"] == why
    assert not model.steps


def test_where_it_fits_twice_or_that_is_not_known_memory_does_not_hold_it() -> None:
    for room in (12 * GIB, None):
        model = Tuned(spec=replace(SPEC, memory_bytes=6 * GIB), server=replace(SERVER, memory_bytes=room))
        model.run(SET_S)
        assert len(model.steps) == 1


def test_the_largest_batch_is_never_changed() -> None:
    model = Tuned(file=BATCHED, batched_per_s=200.0)
    wait = model.said(SET_S)
    assert wait is not None
    assert reason_text(wait) == "not carried out now: max_batch_size is the model's own, and yours to change"
    assert not model.steps


def test_bounds_that_a_person_set_do_not_hold_it() -> None:
    bounds = Override("o", "m", OverrideKind.BOUNDS, "ada", "demo", NOW, NOW + YEAR_S, least=1, most=1)
    model = Tuned(overrides=(bounds,))
    model.run(SET_S)
    [step] = model.steps
    assert not step.by_person


def test_a_queue_delay_that_costs_is_taken_out() -> None:
    model = Tuned(file=BatchingKnobs(8, max_queue_delay_s=0.1), waiting=0, batched_per_s=4.0, batched_s=0.03)
    model.run(SET_S)
    assert [s.target for s in model.steps] == [Target(loaded=True, instances=1, batching=BATCHED)]
    assert model.effects[-1].verdict is Verdict.HELPED


def test_only_dynamic_batching_of_a_configuration_is_changed() -> None:
    config = {"name": "m", "max_batch_size": 8, "dynamic_batching": {"preserve_ordering": True}, "parameters": {}}
    wanted = with_batching(config, BatchingKnobs(64, max_queue_delay_s=0.0005, preferred_sizes=(2, 4)))
    assert wanted == config | {
        "dynamic_batching": {
            "preserve_ordering": True,
            "preferred_batch_size": [2, 4],
            "max_queue_delay_microseconds": 500,
        }
    }
    assert with_batching(wanted, BatchingKnobs(8, dynamic=False)) == {
        "name": "m",
        "max_batch_size": 8,
        "parameters": {},
    }
    shown = {
        "max_batch_size": 8,
        "dynamic_batching": {"preferred_batch_size": [8], "max_queue_delay_microseconds": 0},
    }
    assert with_batching(shown, BatchingKnobs(8)) == shown


def test_while_another_version_is_watched_the_batching_stays() -> None:
    told = Override("r", "m", OverrideKind.ROLLOUT, "eve", "new", NOW, NOW + 9e4, version="2", verify_s=60.0)
    model = Tuned(overrides=(told,), versions=("1", "2"))
    wait = model.said(SET_S + 600.0)
    assert wait is not None
    assert "a rollout is under way" in reason_text(wait)
    assert {step.step for step in model.steps} == {Step.SET_VERSIONS}


def test_where_a_rollout_failed_elsewhere_the_batching_of_those_that_keep_the_old_version_waits_no_longer() -> None:
    told = Override("r", "m", OverrideKind.ROLLOUT, "eve", "new", NOW, NOW + 9e4, version="2", verify_s=60.0)
    model = Tuned(overrides=(told,), versions=("1",), spec=replace(SPEC, runs_on=("first", "t0")))
    failed = Rollout("r", "2", ("1",), RolloutPhase.ROLLED_BACK, NOW, Served(0, 0.0, 0.0, None), "no weights")
    model.state = replace(model.state, units={"m@first": UnitState(rollout=failed)})
    model.run(SET_S + 600.0)
    assert [step.step for step in model.steps] == [Step.SET_VERSIONS, Step.CONFIGURE]
    assert model.steps[-1].target is not None
    assert model.steps[-1].target.versions == ("1",)
