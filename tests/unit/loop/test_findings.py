"""What is remembered of failures, and how often is looked."""

from __future__ import annotations

from dataclasses import replace

from controlplane.domain.decision import Action, ActionStatus, Outcome, Step, Target
from controlplane.domain.failures import FailureClass
from controlplane.domain.picture import Picture
from controlplane.domain.signal import Known
from controlplane.loop.findings import Findings
from tests.unit.loop.worlds import FLEET, NOW, a_reading


def outcome(status: ActionStatus) -> Outcome:
    action = Action("d-1", "a", "t0", Step.RELOAD, Target(loaded=True, instances=1), NOW - 5)
    return Outcome(action, status, NOW, "out of memory", FailureClass.OUT_OF_MEMORY)


PICTURE = Picture(NOW, FLEET, a_reading())
FAILED = outcome(ActionStatus.FAILED)


def test_a_failure_is_remembered_until_a_success_or_until_its_server_leaves() -> None:
    findings = Findings()
    findings.note(FLEET, (FAILED,))
    assert findings.complete(PICTURE).failed == (FAILED,)
    for says_nothing in (ActionStatus.DROPPED, ActionStatus.INTERRUPTED, ActionStatus.DRY_RUN):
        findings.note(FLEET, (outcome(says_nothing),))
    assert findings.complete(PICTURE).failed == (FAILED,)
    findings.note(FLEET, (outcome(ActionStatus.SUCCEEDED),))
    assert findings.complete(PICTURE).failed == ()
    findings.note(FLEET, (FAILED,))
    findings.note(replace(FLEET, servers=()), ())
    assert findings.complete(PICTURE).failed == ()


def test_a_failure_is_among_the_conditions_of_the_picture() -> None:
    findings = Findings()
    findings.note(FLEET, (FAILED,))
    assert [(one.alert, one.model) for one in findings.complete(PICTURE).conditions] == [("ModelLoadFailed", "a")]


def test_conditions_are_found_once_until_something_new_was_read() -> None:
    findings, reading = Findings(), a_reading()
    down = replace(reading.servers["t0"], live=Known(value=False, observed_at=NOW))
    after = replace(PICTURE, reading=replace(reading, servers={"t0": down}))
    before = findings.complete(PICTURE).conditions
    assert findings.complete(after).conditions is before
    findings.renew()
    assert [one.alert for one in findings.complete(after).conditions] == ["ServerDown", "ServerDown"]
