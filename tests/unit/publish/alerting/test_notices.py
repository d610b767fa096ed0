"""What there is to tell, out of a picture."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from controlplane.domain.alerts import AlertState, BurnAlert, Severity
from controlplane.domain.conditions import AlertName, Condition
from controlplane.domain.decision import Decision, Reason, ReasonCode
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import Fleet
from controlplane.domain.objectives import Counts, Indicator, IndicatorSource, Judgement, Objective
from controlplane.domain.picture import LoopHealth, Picture
from controlplane.domain.routing import AlertSettings
from controlplane.publish.alerting.catalogue import BY_NAME
from controlplane.publish.alerting.notices import Notice, notices
from controlplane.slo.alerts import AlertPolicy, judge_alerts
from tests.unit.loop.worlds import FLEET, NOW, a_decision, a_reading

OBJECTIVE = Objective(Indicator.AVAILABILITY, 0.999, 28 * 86400.0, IndicatorSource.SERVER)
KEY = OBJECTIVE.key
JUDGED = Fleet(FLEET.servers, (replace(FLEET.models[0], objectives=(OBJECTIVE,)), FLEET.models[1]))
BURNING = Counts(good=500, bad=500, measured_s=300.0, expected_s=300.0)
CALM = Counts(good=1000, measured_s=300.0, expected_s=300.0)
SETTINGS = AlertSettings()


def burn(counts: Counts, since: float | None = None) -> tuple[BurnAlert, ...]:
    before = {} if since is None else {severity: AlertState(firing_since=since) for severity in Severity}
    return judge_alerts("a", OBJECTIVE, lambda _: counts, before, AlertPolicy(), NOW)[0]


def picture(**more: Any) -> Picture:
    health = LoopHealth(ticks=9, last_tick_at=NOW, interval_s=15.0, started_at=NOW - 900, store_failing=False)
    return replace(Picture(NOW, JUDGED, a_reading(), health=health), **more)


def named(found: tuple[Notice, ...], alert: AlertName) -> list[Notice]:
    return [notice for notice in found if notice.name == alert.value]


def one(shown: Picture, alert: AlertName, settings: AlertSettings = SETTINGS) -> Notice:
    (notice,) = named(notices(shown, {}, settings), alert)
    return notice


def test_where_all_is_well_only_the_watchdog_is_told() -> None:
    (notice,) = notices(picture(alerts={"a": burn(CALM)}), {}, SETTINGS)
    assert dict(notice.labels) == {"alertname": "Watchdog", "severity": "info"}
    assert (notice.for_s, notice.since) == (0.0, None)


def test_a_page_names_model_objective_burn_rate_windows_since_decisions_and_links() -> None:
    settings = AlertSettings(runbooks_url="https://books", dashboards_url="https://graphs", console_url="https://plane")
    made = a_decision(
        "d-1", reasons=(Reason(ReasonCode.DEMAND, {"demand_per_s": 41.0, "low_per_s": 40, "high_per_s": 42}),)
    )
    found = notices(picture(alerts={"a": burn(BURNING, NOW - 700)}), {"a": [made]}, settings)
    page, ticket = named(found, AlertName.ERROR_BUDGET_BURN)
    assert dict(page.labels) == {"alertname": "ErrorBudgetBurn", "severity": "page", "model": "a", "objective": KEY}
    assert dict(ticket.labels)["severity"] == "ticket"
    assert (page.since, page.for_s) == (NOW - 700, 0.0)
    told = page.annotations["description"]
    assert "burn rate 500 over 1 h and 500 over 5 min, page above 13.4" in told
    assert "since 2023-11-14 22:01:40 UTC" in told
    assert "for t0: 1 -> 2 instances: demand of 41/s to be held" in told
    assert page.annotations["runbook_url"] == "https://books/ErrorBudgetBurn.md"
    assert page.annotations["dashboard_url"] == "https://graphs/d/cp-slo?var-model=a"
    assert page.annotations["console_url"] == "https://plane"
    assert not re.search(r"\d", page.annotations["summary"].replace(KEY, "")), "nothing in it changes"


def test_an_alert_that_cannot_be_judged_goes_on() -> None:
    unseen = replace(BURNING, measured_s=0.0)
    frozen = burn(unseen, NOW - 700)
    assert frozen[0].frozen
    notice = named(notices(picture(alerts={"a": frozen}), {}, SETTINGS), AlertName.ERROR_BUDGET_BURN)[0]
    assert notice.since == NOW - 700
    assert "It cannot be judged now and stays" in notice.annotations["description"]


@pytest.mark.parametrize(("left", "count"), [(0.001, 0), (0.0, 1), (-2.5, 1), (None, 0)])
def test_a_spent_budget_is_told_and_no_traffic_is_none(left: float | None, count: int) -> None:
    judgement = Judgement("a", OBJECTIVE, CALM, 1.0, 1.0, left, None, None, None)
    found = named(notices(picture(judgements={"a": (judgement,)}), {}, SETTINGS), AlertName.ERROR_BUDGET_EXHAUSTED)
    assert len(found) == count
    assert all(notice.for_s == BY_NAME[AlertName.ERROR_BUDGET_EXHAUSTED].for_s for notice in found)


@pytest.mark.parametrize(("measured_s", "count"), [(0.0, 1), (149.0, 1), (150.0, 0), (300.0, 0)])
def test_an_objective_of_which_less_than_half_is_measured_is_told_once(measured_s: float, count: int) -> None:
    alerts = burn(replace(CALM, measured_s=measured_s))
    assert len(named(notices(picture(alerts={"a": alerts}), {}, SETTINGS), AlertName.OBJECTIVE_UNMEASURED)) == count


def test_time_that_people_excluded_is_not_unmeasured() -> None:
    alerts = burn(Counts())
    assert not named(notices(picture(alerts={"a": alerts}), {}, SETTINGS), AlertName.OBJECTIVE_UNMEASURED)


def test_a_condition_is_told_with_the_labels_of_its_alert_alone() -> None:
    cause = FailureClass.OUT_OF_MEMORY.value
    failed = Condition(AlertName.MODEL_LOAD_FAILED, "a", server="t0", cause=cause, kind="x", detail="CUDA said no")
    notice = one(picture(conditions=(failed,)), AlertName.MODEL_LOAD_FAILED)
    assert dict(notice.labels) == {
        "alertname": "ModelLoadFailed",
        "severity": "page",
        "model": "a",
        "server": "t0",
        "cause": cause,
    }
    assert "unload idle models" in notice.annotations["description"]
    assert "CUDA said no" in notice.annotations["description"]


def test_conditions_that_differ_in_no_label_are_one_alert_and_empty_labels_are_left_out() -> None:
    ending = tuple(Condition(AlertName.OVERRIDE_ENDING, kind="freeze", server=f"t{n}") for n in range(3))
    assert dict(one(picture(conditions=ending), AlertName.OVERRIDE_ENDING).labels) == {
        "alertname": "OverrideEnding",
        "severity": "info",
        "kind": "freeze",
    }


def test_a_store_that_fails_and_a_loop_that_stands_still_are_told() -> None:
    well = picture().health
    failing = one(picture(health=replace(well, store_failing=True, problem="disk full")), AlertName.STORE_FAILING)
    assert "disk full" in failing.annotations["description"]
    late = picture(health=replace(well, last_tick_at=NOW - 46.0))
    assert "46 s ago" in one(late, AlertName.CONTROL_PLANE_LATE).annotations["description"]
    just = picture(health=replace(well, last_tick_at=NOW - 45.0))
    assert not named(notices(just, {}, SETTINGS), AlertName.CONTROL_PLANE_LATE)
    slow = picture(health=replace(well, last_tick_s=15.1, skipped=7))
    assert "7 were so far" in one(slow, AlertName.CONTROL_PLANE_LATE).annotations["description"]
    never = picture(health=LoopHealth(interval_s=15.0, started_at=NOW - 46.0))
    assert one(never, AlertName.CONTROL_PLANE_LATE)


def test_what_holds_now_is_told_where_nothing_changed_of_late() -> None:
    def described(decisions: tuple[Decision, ...]) -> str:
        shown = picture(alerts={"a": burn(BURNING, NOW)}, decisions=decisions)
        return named(notices(shown, {}, SETTINGS), AlertName.ERROR_BUDGET_BURN)[0].annotations["description"]

    assert "1 -> 2 instances" in described((a_decision(), a_decision("d-2", "b")))
    assert described((a_decision(), a_decision("d-2", "b"))).count("Decided") == 1
    assert "Decided" not in described(())
