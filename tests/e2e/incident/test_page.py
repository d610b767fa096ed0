"""Triton, the control plane, Prometheus and Alertmanager, all real: who is told what of an incident, and when."""

from __future__ import annotations

import math
import sys
from datetime import datetime

import pytest

from controlplane.domain.objectives import SLICE_S
from controlplane.slo.burn import wilson_low
from tests.e2e.incident.incident import USUAL_PER_S, WAYS, Incident
from tests.e2e.incident.settings import GOES_DARK, GROUP_WAIT_S, RECOVERS, TARGET, WINDOW_S

pytestmark = [pytest.mark.triton, pytest.mark.e2e]

LONG_S, FACTOR = WINDOW_S / 4, 2.0
"""The page window of an objective over an hour, and its factor (slo/burn)."""
SHARE = FACTOR * (1.0 - TARGET)
SLOWEST_S = 0.8
"""A request that came just after a batch began waits for it and takes as long itself."""
GRACE_S, TICK_S, SCRAPE_S, EVALUATION_S = 10.0, 1.0, 1.0, 5.0
LEEWAY_S = 15.0
"""For a machine that is busy otherwise."""


def bound_s(good: int, way: str) -> float:
    """From the fault to the page at most: until enough events are bad, and until that is told."""
    bad = next(bad for bad in range(3, 10_000) if wilson_low(bad, good + bad) > SHARE)
    slices = math.ceil((bad / USUAL_PER_S + SLOWEST_S) / SLICE_S)
    counted_s = slices * SLICE_S + GRACE_S + 2 * TICK_S
    # Prometheus scrapes, records what it then alerts on
    told_s = SCRAPE_S + 2 * EVALUATION_S if way == "prometheus" else 0.0
    return counted_s + told_s + GROUP_WAIT_S


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize("way", WAYS)
def test_a_model_made_slow_is_paged_within_the_bound(
    incident: Incident, way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    took_s, most_s = incident.paged_at[way] - incident.fault_at, bound_s(incident.good_before, way)
    with capsys.disabled():
        sys.stdout.write(
            f"\nfrom fault to page ({way}): {took_s:.1f} s; bound by arithmetic {most_s:.1f} s after"
            f" {incident.good_before} good events, {SHARE * LONG_S + most_s:.0f} s after {LONG_S:.0f} s of them\n"
        )
    assert SLICE_S + GRACE_S < took_s < most_s + LEEWAY_S


@pytest.mark.parametrize("way", WAYS)
def test_one_page_groups_what_burns_and_says_what_to_know(incident: Incident, way: str) -> None:
    post = incident.told(way, "page", RECOVERS)[0]
    assert (post["status"], post["groupLabels"]) == ("firing", {"model": RECOVERS})
    objectives = [f"latency_{threshold}ms_gateway_edge-{RECOVERS}" for threshold in (200, 350)]
    assert sorted(alert["labels"]["objective"] for alert in post["alerts"]) == objectives
    for alert in post["alerts"]:
        told, objective = alert["annotations"], alert["labels"]["objective"]
        assert {"alertname": "ErrorBudgetBurn", "severity": "page", "model": RECOVERS}.items() <= alert[
            "labels"
        ].items()
        assert told["summary"] == f"Model {RECOVERS} burns the error budget of {objective} too fast"
        burn = float(told["description"].removeprefix("The burn rate is ").partition(":")[0])
        assert FACTOR < burn < 1 / (1 - TARGET)
        assert "above 2" in told["description"]
        assert {"prometheus": "Last decisions: triton-0: ", "direct": " for triton-0: "}[way] in told["description"]
        assert incident.fault_at < moment(alert["startsAt"]) <= incident.paged_at[way]
        assert told["runbook_url"] == "https://git.example.org/runbooks/ErrorBudgetBurn.md"
        assert told["dashboard_url"] == f"https://grafana.example.org/d/cp-slo?var-model={RECOVERS}"
        assert told["console_url"] == incident.planes[way].url


def test_recovery_resolves_the_page(incident: Incident) -> None:
    begun, *after = incident.told("prometheus", "page", RECOVERS)
    assert begun["status"] == "firing"
    assert after[-1]["status"] == "resolved"
    known = {alert["fingerprint"] for alert in begun["alerts"]}
    assert {alert["fingerprint"] for post in after for alert in post["alerts"]} <= known, "nobody is paged anew"
    assert incident.alerts(RECOVERS) == []


def test_a_page_that_nobody_can_judge_any_more_stays(incident: Incident) -> None:
    """Its model recovered as the other one did, but its gateway's page was gone by then."""
    assert incident.frozen_at > incident.resolved_at
    for way in WAYS:
        assert {post["status"] for post in incident.told(way, "page", GOES_DARK)} == {"firing"}
        assert incident.told(way, "ticket", GOES_DARK) == [], "a page keeps back the ticket about the same"
    assert [(alert["state"], float(alert["value"])) for alert in incident.held] == [("firing", 0.0)] * 2
    described = [alert["annotations"]["description"] for alert in incident.held]
    assert all("cannot be measured at present, and stays what it was" in description for description in described)
    for alerts in incident.held_by.values():
        pages = [alert for alert in alerts if alert["severity"] == "page"]
        assert [(alert["firing"], bool(alert["frozen"])) for alert in pages] == [(True, True)] * 2


def test_pages_come_back_to_the_control_plane(incident: Incident) -> None:
    received = incident.planes["prometheus"].get("alerts")["received"]
    burning = [one for one in received if one["name"] == "ErrorBudgetBurn" and one["severity"] == "page"]
    assert {(one["model"], one["firing"]) for one in burning} == {(RECOVERS, False), (GOES_DARK, True)}
