"""The example fleet's file in alerts/ is the golden one; amtool judges what is written in tests/integration."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from controlplane.config import load_settings, parse_settings
from controlplane.publish.alerting.routing import FILE, files
from controlplane.publish.alerting.routing.matchers import equal, one_of
from controlplane.publish.alerting.routing.routes import inhibit_rules
from tests.unit.config.test_alerts import FLEET, FULL, TEAMS
from tests.unit.docs.pages import ROOT

WEEK = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def tree(alerts: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(files(parse_settings(FLEET + alerts, {}))[FILE])
    return found


def with_mute(mute: str) -> str:
    return "alerts:" + TEAMS.replace('hook/"}]', f'hook/"}}], mutes: [{mute}]')


def ranges(mute: str) -> list[tuple[str, str, tuple[str, ...], str]]:
    (interval,) = tree(with_mute(mute))["time_intervals"]
    return [
        (times["start_time"], times["end_time"], tuple(each.get("weekdays", ())), each["location"])
        for each in interval["time_intervals"]
        for times in each["times"]
    ]


def test_the_file_of_the_example_fleet_is_up_to_date() -> None:
    settings = load_settings(ROOT / "deploy/examples/fleet.yaml", {"CONTROLPLANE_STORE_PASSWORD_FILE": ""})
    assert (ROOT / "alerts" / FILE).read_text(encoding="utf-8") == files(settings)[FILE], (
        "CONTROLPLANE_STORE_PASSWORD_FILE= controlplane rules --config deploy/examples/fleet.yaml --out alerts"
    )


def test_every_receiver_that_is_routed_to_is_there_and_no_other() -> None:
    found = tree(FULL)
    routed = re.findall(r"'receiver': '([^']+)'", str(found["route"]))
    assert set(routed) | {"nobody"} == {receiver["name"] for receiver in found["receivers"]}


@pytest.mark.parametrize(("for_", "repeat"), [("30m", "900s"), ("20s", "30s"), ("9h", "14400s")])
def test_alerts_come_back_often_enough_for_freezes_to_hold_on(for_: str, repeat: str) -> None:
    freezes = "".join(f"    - {{alert: {{alertname: X}}, for: {each}}}\n" for each in ("10h", for_))
    found = tree("alerts:" + TEAMS + '  console_url: "http://c:8900"\n  freezes:\n' + freezes)
    (back,) = (each for each in found["route"]["routes"] if each.get("continue"))
    assert back["repeat_interval"] == repeat


def test_a_team_that_owns_nothing_has_no_route() -> None:
    found = tree("alerts:" + TEAMS + '    - {name: idle, page: [{webhook: "http://idle"}]}\n')
    assert "idle" not in str(found)


def test_only_a_model_that_runs_on_one_server_alone_is_kept_back_as_a_whole() -> None:
    settings = parse_settings(FLEET + "alerts:" + TEAMS, {})
    bert, resnet = settings.fleet.models
    (whole, *_) = inhibit_rules(settings.fleet)
    assert whole["source_matchers"] == ['alertname="ServerDown"', 'model=~"^(bert|resnet)$"']
    discovered = replace(bert, workloads=("pods",))
    (whole, *others) = inhibit_rules(replace(settings.fleet, models=(discovered, resnet)))
    assert whole["source_matchers"][1] == 'model=~"^(resnet)$"'
    twice = replace(resnet, runs_on=("t0", "t1"))
    assert inhibit_rules(replace(settings.fleet, models=(discovered, twice))) == others


def test_without_teams_nobody_but_the_control_plane_is_told() -> None:
    settings = parse_settings(
        FLEET.replace(", team: vision", ""), {"CONTROLPLANE_ALERTS__CONSOLE_URL": "http://c:8900"}
    )
    found = yaml.safe_load(files(settings)[FILE])
    assert [receiver["name"] for receiver in found["receivers"]] == ["nobody", "controlplane"]
    assert found["route"]["routes"][-1] == {"receiver": "nobody"}


def test_the_control_plane_is_told_by_the_token_of_a_file_and_without_one_by_none() -> None:
    def told_back(alerts: str) -> dict[str, Any]:
        (receiver,) = (each for each in tree(alerts)["receivers"] if each["name"] == "controlplane")
        (hook,) = receiver["webhook_configs"]
        assert hook["url"] == "http://controlplane:8900/hooks/alertmanager"
        found: dict[str, Any] = hook.get("http_config", {})
        return found

    by_file = {"type": "Bearer", "credentials_file": "/etc/alertmanager/hook"}
    assert told_back(FULL) == {"authorization": by_file}
    assert told_back(FULL.replace("  hook_token_file: /etc/alertmanager/hook\n", "")) == {}


def test_every_receiver_tells_the_end_too_but_the_watchdogs() -> None:
    ends = {
        receiver["name"]: {config["send_resolved"] for key in receiver if key != "name" for config in receiver[key]}
        for receiver in tree(FULL)["receivers"]
    }
    assert ends.pop("nobody") == set()
    assert ends.pop("watchdog") == {False}
    assert set(map(frozenset, ends.values())) == {frozenset({True})}


def test_urgency_reaches_pagerduty_and_opsgenie() -> None:
    by_name = {receiver["name"]: receiver for receiver in tree(FULL)["receivers"]}
    assert by_name["platform/page"]["pagerduty_configs"][0]["severity"] == "critical"
    priorities = [by_name[f"vision/{s}"]["opsgenie_configs"][0]["priority"] for s in ("page", "ticket", "info")]
    assert priorities == ["P1", "P3", "P5"]


def test_a_mute_time_holds_for_its_severities_in_every_route_below() -> None:
    found = tree(with_mute("{severities: [page], days: [sunday]}"))
    (team,) = (each for each in found["route"]["routes"] if "model" in str(each.get("matchers")))
    page, ticket, info = team["routes"]
    assert page["mute_time_intervals"] == ["vision/0"]
    assert [below["mute_time_intervals"] for below in page["routes"]] == [["vision/0"]]
    assert "mute" not in str((ticket, info))


@pytest.mark.parametrize(
    ("mute", "expected"),
    [
        ("{severities: [info], days: [sunday]}", [("00:00", "24:00", ("sunday",), "UTC")]),
        ("{severities: [info], since: '09:00', until: '17:30'}", [("09:00", "17:30", (), "UTC")]),
        (
            "{severities: [info], since: '22:00', until: '06:00', location: Europe/Berlin}",
            [("22:00", "24:00", (), "Europe/Berlin"), ("00:00", "06:00", (), "Europe/Berlin")],
        ),
        (
            "{severities: [info], days: [sunday, friday], since: '22:00', until: '06:00'}",
            [("22:00", "24:00", ("sunday", "friday"), "UTC"), ("00:00", "06:00", ("monday", "saturday"), "UTC")],
        ),
        (
            "{severities: [info], days: [sunday], since: '22:00', until: '00:00'}",
            [("22:00", "24:00", ("sunday",), "UTC")],
        ),
    ],
)
def test_a_mute_time_over_midnight_is_two_and_the_second_on_the_next_days(
    mute: str, expected: list[tuple[str, str, tuple[str, ...], str]]
) -> None:
    assert ranges(mute) == expected


@given(st.lists(st.text(min_size=1), min_size=1, max_size=4), st.text())
def test_a_matcher_takes_its_values_and_no_other(values: list[str], other: str) -> None:
    """Read back as Alertmanager does: a quoted string with three escapes that holds a pattern for the whole value."""
    quoted = one_of("model", values).removeprefix("model=~")
    pattern = re.compile(unquoted(quoted))
    assert all(pattern.fullmatch(value) for value in values)
    assert (pattern.fullmatch(other) is not None) == (other in values)
    assert unquoted(equal("model", other).removeprefix("model=")) == other


def unquoted(text: str) -> str:
    assert text[0] == text[-1] == '"'
    assert "\n" not in text
    meant = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}
    return re.sub(r'\\[\\"n]', lambda found: meant[found[0]], text[1:-1])
