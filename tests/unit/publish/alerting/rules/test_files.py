from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from controlplane.config import load_settings
from controlplane.config.settings import Settings
from controlplane.domain import names
from controlplane.domain.conditions import AlertName
from controlplane.domain.objectives import Objective
from controlplane.domain.routing import AlertSettings, Via
from controlplane.publish.alerting.catalogue import BY_NAME
from controlplane.publish.alerting.rules import ALERTING_FILE, RECORDING_FILE, files
from tests.unit.publish.alerting.rules.histories import DAY_S, LOOSE, STRICT, settings_of

ROOT = Path(__file__).parents[5]


def groups(settings: Settings, name: str) -> list[dict[str, Any]]:
    text = files(settings)[name]
    assert text.startswith("# Written by `controlplane rules`")
    found: list[dict[str, Any]] = yaml.safe_load(text)["groups"]
    return found


def alerts(settings: Settings) -> list[dict[str, Any]]:
    return [rule for group in groups(settings, ALERTING_FILE) for rule in group["rules"]]


def burning(*objectives: Objective) -> dict[str, dict[str, Any]]:
    found = alerts(settings_of({"bert": objectives}))
    return {rule["labels"]["severity"]: rule for rule in found if rule["alert"] == AlertName.ERROR_BUDGET_BURN}


def test_the_files_in_alerts_are_those_of_the_example_fleet(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")
    environment = {"CONTROLPLANE_STORE_PASSWORD_FILE": str(tmp_path / "password")}
    for name, text in files(load_settings(ROOT / "deploy/examples/fleet.yaml", environment)).items():
        kept = (ROOT / "alerts" / name).read_text(encoding="utf-8")
        assert kept == text, "run controlplane rules --config deploy/examples/fleet.yaml"
        assert "secret" not in text


def test_only_windows_of_the_objectives_are_recorded() -> None:
    week = replace(STRICT, window_s=7 * DAY_S)
    names_of = [
        [group["name"] for group in groups(settings_of({"bert": of}), RECORDING_FILE)] for of in ([week], [STRICT], [])
    ]
    ends = [[name.removeprefix("controlplane-slo-") for name in found] for found in names_of]
    # three days are more than a quarter of a week
    assert ends == [
        ["5m", "15m", "30m", "1h", "2h", "6h", "1d"],
        ["5m", "15m", "30m", "1h", "2h", "6h", "1d", "3d"],
        [],
    ]


def test_rules_over_long_windows_are_evaluated_less_often_and_often_enough_for_a_look_back() -> None:
    settings = settings_of({"bert": [STRICT]})
    intervals = {group["name"]: group["interval"] for group in groups(settings, RECORDING_FILE)}
    assert intervals["controlplane-slo-5m"] == intervals["controlplane-slo-2h"] == "15s"
    assert intervals["controlplane-slo-6h"] == intervals["controlplane-slo-3d"] == "2m"
    fast = replace(settings, decide_interval_s=1.0)
    assert groups(fast, ALERTING_FILE)[0]["interval"] == "5s"


def test_no_window_is_shorter_than_what_is_scraped_of_ticks_and_told_by_sources() -> None:
    hour = replace(STRICT, window_s=3600.0)
    short = burning(hour)["page"]["expr"]
    assert "ratio_rate15m{" in short
    assert "ratio_rate1m15s{" in short
    slow = replace(settings_of({"bert": [hour]}), decide_interval_s=60.0)
    assert "ratio_rate4m{" in alerts(slow)[0]["expr"]


def test_a_factor_that_could_never_be_reached_is_lowered_and_its_description_says_so() -> None:
    assert "/ 0.01 > 13.44\n" in burning(STRICT)["page"]["expr"]
    page = burning(LOOSE)["page"]
    assert "/ 0.1 > 8\n" in page["expr"]
    assert (
        "above 8 over 1 h and 5 min (in place of 13.4, which its target could hardly reach)"
        in (page["annotations"]["description"])
    )


def test_a_page_and_a_ticket_of_an_objective_look_at_their_own_state() -> None:
    for severity, rule in burning(STRICT).items():
        assert set(re.findall(r'severity="(\w+)"', rule["expr"])) == {severity}
        assert rule["labels"] == {"severity": severity, "model": "bert", "objective": STRICT.key}


def test_every_alert_has_a_rule_with_the_labels_of_the_catalogue() -> None:
    found = alerts(settings_of({"bert": [STRICT]}))
    assert {rule["alert"] for rule in found} == {alert.value for alert in AlertName}
    for rule in found:
        text = BY_NAME[AlertName(rule["alert"])]
        given = set(rule["labels"]) - {names.SEVERITY}
        assert given in (set(), set(text.labels))
        if not given and text.labels:
            assert f"max by ({', '.join(text.labels)}) (" in rule["expr"]
        assert set(rule["annotations"]) == {"summary", "description"}


def test_alerts_that_the_control_plane_sends_itself_have_no_rules_and_are_recorded_for_dashboards_all_the_same() -> (
    None
):
    direct = settings_of({"bert": [STRICT]}, AlertSettings(via=Via.DIRECT, alertmanagers=("http://am:9093",)))
    assert groups(direct, ALERTING_FILE) == []
    assert len(groups(direct, RECORDING_FILE)) == 8


def test_without_models_there_is_nothing_to_record() -> None:
    assert groups(settings_of({}), RECORDING_FILE) == []
    assert AlertName.OBJECTIVE_UNMEASURED not in {rule["alert"] for rule in alerts(settings_of({}))}
