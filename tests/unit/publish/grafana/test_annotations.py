from __future__ import annotations

from dataclasses import replace

from controlplane.domain.conditions import AlertName, Condition
from controlplane.domain.decision import Action, ActionStatus, Outcome, Step, Target
from controlplane.domain.instructions import Freeze, FreezeDirection, Override, OverrideKind
from controlplane.domain.picture import Picture
from controlplane.domain.routing import AlertSettings
from controlplane.publish.alerting.catalogue import BY_NAME
from controlplane.publish.dashboards import dashboards
from controlplane.publish.grafana.annotations import TAG, Annotation, Marks
from tests.unit.publish.pictures import NOW, a_picture

PICTURE = replace(a_picture(), health=replace(a_picture().health, ticks=1, last_tick_at=NOW))
DOWN = Condition(AlertName.SERVER_DOWN, model="bert", server="t0")
HELD_S = BY_NAME[AlertName.SERVER_DOWN].for_s
OVERRIDE = Override("o1", "bert", OverrideKind.INSTANCES, "ann", "a test", NOW + 1, NOW + 60, 3)
FREEZE = Freeze("f1", "", FreezeDirection.NO_DOWN, "bob", "an incident", NOW + 1, NOW + 60)


def marks() -> Marks:
    return Marks(NOW, AlertSettings())


def later(seconds: float, **changes: object) -> Picture:
    health = replace(PICTURE.health, last_tick_at=NOW + seconds)
    return replace(PICTURE, at=NOW + seconds, health=health, **changes)  # type: ignore[arg-type]


def an_outcome(at: float, status: ActionStatus = ActionStatus.SUCCEEDED, detail: str = "") -> Outcome:
    action = Action("d-1", "bert", "t0", Step.SET_INSTANCES, Target(loaded=True, instances=3), at - 2)
    return Outcome(action, status, at, detail)


def test_an_action_that_ended_is_marked_once_over_the_time_it_took() -> None:
    book = marks()
    (mark,) = book.look(PICTURE, [an_outcome(NOW + 5)])
    assert mark == Annotation(
        NOW + 3,
        "bert on t0: 3 instances: succeeded",
        ("controlplane", "action", "server:t0", "step:set_instances", "status:succeeded", "model:bert"),
        NOW + 5,
    )
    assert book.look(later(5), [an_outcome(NOW + 5)]) == []
    assert len(book.look(later(9), [an_outcome(NOW + 8)])) == 1


def test_replicas_that_were_set_are_marked() -> None:
    outcome = an_outcome(NOW + 5)
    scaled = replace(outcome, action=replace(outcome.action, server="w", step=Step.SCALE))
    (mark,) = marks().look(PICTURE, [scaled])
    assert mark.text == "bert on w: 3 replicas: succeeded"


def test_an_action_that_failed_says_why() -> None:
    (mark,) = marks().look(PICTURE, [an_outcome(NOW + 5, ActionStatus.FAILED, "out of memory")])
    assert mark.text.endswith("failed: out of memory")


def test_what_ended_or_began_before_the_start_is_not_marked_again() -> None:
    book = marks()
    old = replace(OVERRIDE, created_at=NOW - 10)
    assert book.look(replace(PICTURE, overrides=(old,), conditions=(DOWN,)), [an_outcome(NOW - 1)]) == []
    assert book.look(later(HELD_S + 1, overrides=(old,), conditions=(DOWN,)), [an_outcome(NOW - 1)]) == []


def test_nothing_is_marked_before_the_first_tick() -> None:
    book = marks()
    assert book.look(replace(a_picture(), overrides=(OVERRIDE,)), [an_outcome(NOW + 1)]) == []
    assert len(book.look(later(15, overrides=(OVERRIDE,)), [an_outcome(NOW + 1)])) == 2


def test_overrides_and_freezes_are_marked_when_set_and_when_they_end() -> None:
    book = marks()
    book.look(PICTURE, [])
    begun = book.look(later(15, overrides=(OVERRIDE,), freezes=(FREEZE,)), [])
    assert [(mark.at, mark.text) for mark in begun] == [
        (NOW + 1, "Override of bert: instances 3 by ann: a test"),
        (NOW + 1, "Freeze (no_down) of all models by bob: an incident"),
    ]
    assert begun[0].tags == ("controlplane", "override", "model:bert")
    assert begun[1].tags == ("controlplane", "freeze")
    assert book.look(later(30, overrides=(OVERRIDE,), freezes=(FREEZE,)), []) == []
    (ended,) = book.look(later(45, overrides=(OVERRIDE,)), [])
    assert (ended.at, ended.text) == (NOW + 45, "Freeze (no_down) of all models ended early")
    (ran_out,) = book.look(later(75), [])
    assert (ran_out.at, ran_out.text) == (NOW + 60, "Override of bert: instances 3 ran out")


def test_an_alert_is_marked_once_its_ground_held_for_as_long_as_its_rule_asks() -> None:
    book = marks()
    book.look(PICTURE, [])
    assert book.look(later(15, conditions=(DOWN,)), []) == []
    assert book.look(later(14 + HELD_S, conditions=(DOWN,)), []) == []
    (begun,) = book.look(later(15 + HELD_S, conditions=(DOWN,)), [])
    assert begun.at == NOW + 15
    assert begun.tags == ("controlplane", "alert", "alert:ServerDown", "severity:page", "model:bert")
    assert book.look(later(30 + HELD_S, conditions=(DOWN,)), []) == []
    (ended,) = book.look(later(45 + HELD_S), [])
    assert (ended.at, ended.text) == (NOW + 45 + HELD_S, "ServerDown (bert, t0): ended")


def test_a_ground_that_went_before_its_time_is_not_marked() -> None:
    book = marks()
    book.look(PICTURE, [])
    book.look(later(15, conditions=(DOWN,)), [])
    assert book.look(later(20), []) == []
    assert book.look(later(15 + HELD_S, conditions=(DOWN,)), []) == []


def test_an_alert_that_fired_before_the_start_is_marked_at_its_end() -> None:
    book = marks()
    book.look(replace(PICTURE, conditions=(DOWN,)), [])
    (ended,) = book.look(later(15), [])
    assert ended.text.endswith("ended")


def test_texts_are_kept_short() -> None:
    (mark,) = marks().look(PICTURE, [an_outcome(NOW + 5, ActionStatus.FAILED, "x" * 9000)])
    assert len(mark.text) == 500


def test_dashboards_show_what_is_marked() -> None:
    for dashboard in dashboards():
        (pushed,) = [a["target"] for a in dashboard["annotations"]["list"] if a["datasource"]["uid"] == "-- Grafana --"]
        assert (pushed["type"], pushed["tags"]) == ("tags", [TAG])
