"""Where nobody was found several times in a row, steps wait; then one tries."""

from __future__ import annotations

from controlplane.decide.circuit import absorbed, hindrance
from controlplane.decide.policy import Policy
from controlplane.domain.decision import Action, ActionStatus, Outcome, ReasonCode, Step, Target
from controlplane.domain.failures import FailureClass
from controlplane.domain.state import Circuit

NOW = 1_700_000_000.0
POLICY = Policy(circuit_failures=3, circuit_pause_s=60.0, back_off_max_s=200.0)
FAILED, AWAY = ActionStatus.FAILED, FailureClass.UNREACHABLE


def an_outcome(
    status: ActionStatus = FAILED, failure: FailureClass | None = AWAY, *, issued_at: float = NOW, took_s: float = 1.0
) -> Outcome:
    action = Action("d", "m", "t0", Step.LOAD, Target(loaded=True, instances=1), issued_at)
    return Outcome(action, status, issued_at + took_s, failure=failure)


def after(circuit: Circuit, *results: Outcome) -> Circuit:
    return absorbed({"t0": circuit}, results, {"t0"}, POLICY).get("t0", Circuit())


def test_it_opens_after_so_many_in_a_row_and_only_then() -> None:
    two = after(Circuit(), an_outcome(), an_outcome())
    assert two == Circuit(2)
    assert hindrance(two, NOW, tried=False) is None
    three = after(two, an_outcome())
    assert three == Circuit(3, 1, NOW + 61.0)
    reason = hindrance(three, NOW + 21.0, tried=False)
    assert reason is not None
    assert (reason.code, dict(reason.numbers)) == (ReasonCode.CIRCUIT_OPEN, {"failures": 3.0, "left_s": 40.0})


def test_whoever_answers_closes_it_with_what_he_says() -> None:
    for answer in (an_outcome(ActionStatus.SUCCEEDED, None), an_outcome(FAILED, FailureClass.OUT_OF_MEMORY)):
        assert after(Circuit(2), answer) == Circuit()
        assert after(Circuit(3, 1, NOW), answer) == Circuit()


def test_what_was_not_tried_says_nothing() -> None:
    for status in (ActionStatus.DROPPED, ActionStatus.INTERRUPTED, ActionStatus.DRY_RUN):
        assert after(Circuit(2), an_outcome(status, None)) == Circuit(2)


def test_after_the_pause_one_step_tries_and_others_wait_for_it() -> None:
    opened = Circuit(3, 1, NOW)
    assert hindrance(opened, NOW, tried=False) is None
    waits = hindrance(opened, NOW, tried=True)
    assert waits is not None
    assert waits.words["why"] == "one step tries it first"


def test_a_try_that_finds_nobody_doubles_the_pause_up_to_the_longest_back_off() -> None:
    circuit = Circuit(3, 1, NOW)
    for pause_s in (120.0, 200.0, 200.0):
        tried_at = circuit.until
        circuit = after(circuit, an_outcome(issued_at=tried_at))
        assert circuit.until == tried_at + 1.0 + pause_s
    assert circuit.opened == 4


def test_what_was_under_way_when_it_opened_opens_it_no_further() -> None:
    opened = Circuit(3, 1, NOW + 60.0)
    assert after(opened, an_outcome(issued_at=NOW - 1.0), an_outcome(issued_at=NOW + 59.0)) == opened


def test_targets_that_are_gone_are_forgotten() -> None:
    assert absorbed({"gone": Circuit(3, 1, NOW), "t0": Circuit(1)}, (), {"t0"}, POLICY) == {"t0": Circuit(1)}
